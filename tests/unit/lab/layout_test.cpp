#include "lab/layout.hpp"

#include <gtest/gtest.h>

#include <set>

#include "lab/address_pool.hpp"

namespace fairlead::lab {
namespace {

TEST(Layout, OfOneNode) {
  const auto layout = lay_out(1);
  ASSERT_TRUE(layout);
  ASSERT_EQ(layout->nodes.size(), 1U);
  const NodeLayout& node = layout->nodes.front();
  EXPECT_EQ(fmt::format("{} {} {} {} {} {} {}", node.name, node.address.v4, node.address.v6,
                        node.pods.v4, node.pods.v6, node.gateway.v4, node.gateway.v6),
            "node1 192.168.50.11 fd00:50::11 10.244.1.0/24 fd00:10:244:1::/64 10.244.1.1 "
            "fd00:10:244:1::1");
}

TEST(Layout, PrefixesDoNotOverlap) {
  const auto layout = lay_out(kMaxNodes);
  ASSERT_TRUE(layout);
  std::vector<IpPrefix> prefixes;
  for (const DualPrefix& dual : {layout->lan, layout->services, layout->balancers}) {
    prefixes.push_back(dual.v4);
    prefixes.push_back(dual.v6);
  }
  for (const NodeLayout& node : layout->nodes) {
    prefixes.push_back(node.pods.v4);
    prefixes.push_back(node.pods.v6);
  }
  for (std::size_t i = 0; i < prefixes.size(); ++i) {
    for (std::size_t j = 0; j < prefixes.size(); ++j) {
      if (i != j) EXPECT_FALSE(prefixes[i].contains(prefixes[j])) << prefixes[i].to_string();
    }
  }
}

TEST(Layout, EveryAddressIsUniqueAndInItsPrefix) {
  const auto layout = lay_out(kMaxNodes);
  ASSERT_TRUE(layout);
  std::set<IpAddress> seen;
  const auto place = [&seen](const DualPrefix& prefix, const DualAddress& address) {
    EXPECT_TRUE(prefix.v4.contains(address.v4)) << address.v4.to_string();
    EXPECT_TRUE(prefix.v6.contains(address.v6)) << address.v6.to_string();
    EXPECT_TRUE(seen.insert(address.v4).second) << address.v4.to_string();
    EXPECT_TRUE(seen.insert(address.v6).second) << address.v6.to_string();
  };
  place(layout->lan, layout->router);
  place(layout->lan, layout->client);
  for (const NodeLayout& node : layout->nodes) {
    place(layout->lan, node.address);
    place(node.pods, node.gateway);
    EXPECT_TRUE(layout->all_pods.v4.contains(node.pods.v4));
    EXPECT_TRUE(layout->all_pods.v6.contains(node.pods.v6));
  }
}

TEST(Layout, RefusesOtherNumbersOfNodes) {
  for (const unsigned nodes : {0U, kMaxNodes + 1}) {
    const auto layout = lay_out(nodes);
    ASSERT_FALSE(layout);
    EXPECT_EQ(layout.error().message,
              fmt::format("{} nodes: between 1 and 89 are possible", nodes));
  }
}

TEST(AddressPool, GivesEachNumberOnceAndThenNone) {
  AddressPool pool;
  std::set<unsigned> taken;
  while (const auto number = pool.take()) EXPECT_TRUE(taken.insert(*number).second);
  EXPECT_EQ(taken.size(), AddressPool::kLast - AddressPool::kFirst + 1);
  EXPECT_EQ(*taken.begin(), AddressPool::kFirst);
  EXPECT_EQ(*taken.rbegin(), AddressPool::kLast);
  pool.give_back(77);
  EXPECT_EQ(pool.take(), 77U);
  EXPECT_EQ(pool.take(), std::nullopt);
}

TEST(AddressPool, AFreedNumberComesRoundAsLateAsPossible) {
  AddressPool pool;
  EXPECT_EQ(pool.take(), 2U);
  pool.give_back(2);
  for (unsigned expected = 3; expected <= AddressPool::kLast; ++expected)
    ASSERT_EQ(pool.take(), expected);
  EXPECT_EQ(pool.take(), 2U);
}

}  // namespace
}  // namespace fairlead::lab
