#include "controllers/load_balancer_addresses.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <ranges>

#include "support/result.hpp"

namespace fairlead::controllers {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }

std::vector<AddressRange> pools(const std::vector<std::string>& texts) {
  return *parse_address_ranges(texts);
}

AddressWish wish(const std::string& name) {
  return {.service = {.namespace_ = "default", .name = name},
          .families = {IpFamily::V4},
          .ports = {{Protocol::Tcp, 80}}};
}

AddressWish sharing(const std::string& name, std::uint16_t port,
                    Protocol protocol = Protocol::Tcp) {
  AddressWish out = wish(name);
  out.sharing_key = "key";
  out.ports = {{protocol, port}};
  return out;
}

kube::StringMap selecting(const std::string& app) { return {{"app", app}}; }

std::string text_of(const LoadBalancerAddresses::Answer& answer) {
  std::string out = fmt::format("{}", fmt::join(answer.addresses, " "));
  if (answer.refusal)
    out += (out.empty() ? "" : " ") + answer.refusal->reason + ": " + answer.refusal->note;
  return out;
}

TEST(LoadBalancerAddresses, EachServiceGetsAnAddressOfItsOwnUntilNoneIsLeft) {
  LoadBalancerAddresses book(pools({"192.0.2.1-192.0.2.2"}));
  EXPECT_EQ(text_of(book.assign(wish("a"))), "192.0.2.1");
  EXPECT_EQ(text_of(book.assign(wish("b"))), "192.0.2.2");
  const std::string none = "AddressPoolExhausted: no IPv4 address is free in the pools";
  EXPECT_EQ(text_of(book.assign(wish("c"))), none);
  EXPECT_TRUE(book.release({"default", "a"}));
  EXPECT_FALSE(book.release({"default", "a"}));
  EXPECT_EQ(text_of(book.assign(wish("c"))), "192.0.2.1");
}

TEST(LoadBalancerAddresses, AskingAgainChangesNothing) {
  LoadBalancerAddresses book(pools({"192.0.2.0/24"}));
  EXPECT_TRUE(book.assign(wish("a")).changed);
  const LoadBalancerAddresses::Answer same{.addresses = {ip("192.0.2.1")}};
  EXPECT_EQ(book.assign(wish("a")), same);
}

TEST(LoadBalancerAddresses, AnAddressGivenBackRestsWhileOthersAreFree) {
  LoadBalancerAddresses book(pools({"192.0.2.1-192.0.2.3"}));
  book.assign(wish("a"));
  book.release({"default", "a"});
  EXPECT_EQ(text_of(book.assign(wish("b"))), "192.0.2.2");
}

TEST(LoadBalancerAddresses, DualStackTakesOneAddressOfEachFamilyInTheServicesOrder) {
  LoadBalancerAddresses book(pools({"192.0.2.1", "2001:db8::1-2001:db8::2"}));
  AddressWish dual = wish("a");
  dual.families = {IpFamily::V6, IpFamily::V4};
  EXPECT_EQ(text_of(book.assign(dual)), "2001:db8::1 192.0.2.1");
  dual.service.name = "b";
  EXPECT_EQ(text_of(book.assign(dual)),
            "2001:db8::2 AddressPoolExhausted: no IPv4 address is free in the pools");
}

TEST(LoadBalancerAddresses, AnAddressAskedForIsThatOrNothing) {
  LoadBalancerAddresses book(pools({"192.0.2.0/24"}));
  AddressWish a = wish("a");
  a.asked = {ip("192.0.2.50")};
  EXPECT_EQ(text_of(book.assign(a)), "192.0.2.50");
  AddressWish b = wish("b");
  b.asked = a.asked;
  EXPECT_EQ(text_of(book.assign(b)),
            "AddressInUse: 192.0.2.50 belongs to Service default/a, which does not share it with "
            "this one");
  b.asked = {ip("198.51.100.1")};
  EXPECT_EQ(text_of(book.assign(b)), "AddressOutsidePools: 198.51.100.1 is in none of the pools");
  b.asked = {};
  EXPECT_EQ(text_of(book.assign(b)), "192.0.2.1");
}

TEST(LoadBalancerAddresses, AServiceMovesToTheAddressItAsksForLater) {
  LoadBalancerAddresses book(pools({"192.0.2.0/24"}));
  AddressWish a = wish("a");
  EXPECT_EQ(text_of(book.assign(a)), "192.0.2.1");
  a.held = {ip("192.0.2.1")};
  a.asked = {ip("192.0.2.9")};
  EXPECT_EQ(text_of(book.assign(a)), "192.0.2.9");
  a.asked = {};
  EXPECT_EQ(text_of(book.assign(a)), "192.0.2.9");
}

TEST(LoadBalancerAddresses, ServicesWithOneKeyShareAnAddressWhilePortsDiffer) {
  LoadBalancerAddresses book(pools({"192.0.2.0/24"}));
  EXPECT_EQ(text_of(book.assign(wish("alone"))), "192.0.2.1");
  EXPECT_EQ(text_of(book.assign(sharing("web", 80))), "192.0.2.2");
  EXPECT_EQ(text_of(book.assign(sharing("tls", 443))), "192.0.2.2");
  EXPECT_EQ(text_of(book.assign(sharing("http3", 443, Protocol::Udp))), "192.0.2.2");
  EXPECT_EQ(text_of(book.assign(sharing("second-web", 80))), "192.0.2.3");
  EXPECT_EQ(text_of(book.assign(sharing("second-tls", 443))), "192.0.2.3");
}

TEST(LoadBalancerAddresses, WhoMayNotShare) {
  struct Row {
    std::string name;
    AddressWish second;
  };
  const auto changed = [](const std::function<void(AddressWish&)>& change) {
    AddressWish out = sharing("b", 443);
    out.asked = {ip("192.0.2.1")};
    change(out);
    return out;
  };
  const Row rows[] = {
      {.name = "the same port",
       .second = changed([](auto& w) { w.ports = {{Protocol::Tcp, 80}}; })},
      {.name = "another key", .second = changed([](auto& w) { w.sharing_key = "other"; })},
      {.name = "no key", .second = changed([](auto& w) { w.sharing_key = ""; })},
      {.name = "another namespace", .second = changed([](auto& w) { w.service.namespace_ = "x"; })},
      {.name = "local traffic", .second = changed([](auto& w) { w.local_selector.emplace(); })},
  };
  for (const Row& row : rows) {
    LoadBalancerAddresses book(pools({"192.0.2.0/24"}));
    book.assign(sharing("a", 80));
    const auto answer = book.assign(row.second);
    ASSERT_TRUE(answer.refusal) << row.name;
    EXPECT_EQ(answer.refusal->reason, "AddressInUse") << row.name;
  }
  LoadBalancerAddresses book(pools({"192.0.2.0/24"}));
  book.assign(sharing("a", 80));
  EXPECT_EQ(text_of(book.assign(changed([](auto&) {}))), "192.0.2.1");
}

TEST(LoadBalancerAddresses, LocalServicesShareWhenTheySelectTheSamePods) {
  LoadBalancerAddresses book(pools({"192.0.2.0/24"}));
  AddressWish a = sharing("a", 80), b = sharing("b", 443), c = sharing("c", 53);
  a.local_selector = b.local_selector = selecting("web");
  c.local_selector = selecting("dns");
  EXPECT_EQ(text_of(book.assign(a)), "192.0.2.1");
  EXPECT_EQ(text_of(book.assign(b)), "192.0.2.1");
  EXPECT_EQ(text_of(book.assign(c)), "192.0.2.2");
}

TEST(LoadBalancerAddresses, WhoeverChangesHisPortsIntoAClashMoves) {
  LoadBalancerAddresses book(pools({"192.0.2.0/24"}));
  book.assign(sharing("a", 80));
  book.assign(sharing("b", 443));
  const auto moved = book.assign(sharing("b", 80));
  EXPECT_EQ(text_of(moved), "192.0.2.2");
  EXPECT_EQ(text_of(book.assign(sharing("a", 80))), "192.0.2.1");
}

TEST(LoadBalancerAddresses, PortsGivenUpLetOthersIn) {
  LoadBalancerAddresses book(pools({"192.0.2.1"}));
  book.assign(sharing("a", 80));
  EXPECT_THAT(book.assign(sharing("b", 80)).addresses, IsEmpty());
  EXPECT_TRUE(book.assign(sharing("a", 8080)).changed);
  EXPECT_EQ(text_of(book.assign(sharing("b", 80))), "192.0.2.1");
}

TEST(LoadBalancerAddresses, AdoptedAddressesStayWhereTheyWere) {
  LoadBalancerAddresses book(pools({"192.0.2.0/24"}));
  AddressWish old = wish("old"), thief = wish("thief"), stranger = wish("stranger");
  old.held = thief.held = {ip("192.0.2.1")};
  stranger.held = {ip("203.0.113.1")};
  book.adopt(old);
  book.adopt(thief);
  book.adopt(stranger);
  EXPECT_THAT(book.addresses_of(thief.service), IsEmpty());
  EXPECT_THAT(book.addresses_of(stranger.service), IsEmpty());
  EXPECT_EQ(text_of(book.assign(thief)), "192.0.2.2");
  EXPECT_EQ(text_of(book.assign(stranger)), "192.0.2.3");
  EXPECT_EQ(text_of(book.assign(old)), "192.0.2.1");
}

kube::Service balancer() {
  kube::Service out;
  out.metadata.namespace_ = "default";
  out.metadata.name = "a";
  out.type = kube::ServiceType::LoadBalancer;
  out.ip_families = {IpFamily::V4};
  out.ports = {{.port = 80}, {.protocol = Protocol::Udp, .port = 53}};
  return out;
}

TEST(AddressWishOf, ReadsWhatTheServiceSays) {
  kube::Service service = balancer();
  service.metadata.annotations[kLoadBalancerSharingKey] = "key";
  service.load_balancer_ip = "192.0.2.7";
  service.selector = {{"app", "web"}};
  service.external_traffic_policy = kube::TrafficPolicy::Local;
  service.ingress = {{.ip = "192.0.2.9"}, {.hostname = "elsewhere.example"}};
  EXPECT_THAT(address_wish_of(service),
              Holds(AddressWish{.service = {"default", "a"},
                                .families = {IpFamily::V4},
                                .ports = {{Protocol::Tcp, 80}, {Protocol::Udp, 53}},
                                .asked = {ip("192.0.2.7")},
                                .sharing_key = "key",
                                .local_selector = kube::StringMap{{"app", "web"}},
                                .held = {ip("192.0.2.9")}}));
}

TEST(AddressWishOf, TheAnnotationGoesBeforeTheField) {
  kube::Service service = balancer();
  service.ip_families = {IpFamily::V4, IpFamily::V6};
  service.load_balancer_ip = "192.0.2.7";
  service.metadata.annotations[kLoadBalancerAddresses] = "2001:db8::5, 192.0.2.8";
  const auto wish = address_wish_of(service);
  ASSERT_TRUE(wish);
  EXPECT_THAT(wish->asked, ElementsAre(ip("2001:db8::5"), ip("192.0.2.8")));
}

TEST(AddressWishOf, SaysWhichFieldIsWrong) {
  struct Row {
    std::string field, annotation, error;
  };
  const Row rows[] = {
      {.field = "2001:db8::1",
       .error = "spec.loadBalancerIP: the Service has no IPv6 for 2001:db8::1"},
      {.annotation = "192.0.2.1,192.0.2.2",
       .error = "metadata.annotations[fairlead.io/load-balancer-addresses]: more than one IPv4 "
                "address"},
  };
  for (const Row& row : rows) {
    kube::Service service = balancer();
    service.load_balancer_ip = row.field;
    if (!row.annotation.empty())
      service.metadata.annotations[kLoadBalancerAddresses] = row.annotation;
    EXPECT_THAT(address_wish_of(service), FailsWith(ErrorCode::Invalid, row.error));
  }
  kube::Service service = balancer();
  service.load_balancer_ip = "web.example";
  EXPECT_FALSE(address_wish_of(service));
}

// The book beside a world of Services that come, change and go; the rules are checked on the
// outcome, not on the way to it.
class World {
 public:
  World() : book_(ranges()) {}

  void step(std::mt19937& random) {
    const std::string name(1, static_cast<char>('a' + random() % 12));
    if (random() % 4 == 0) {
      wishes_.erase(name);
      held_.erase(name);
      book_.release({"default", name});
    } else {
      wishes_[name] = random_wish(name, random);
    }
    settle();
  }

  // Everyone asks until nothing changes any more.
  void settle() {
    for (int round = 0; round < 50; ++round) {
      bool changed = false;
      for (auto& [name, wish] : wishes_) {
        wish.held = held_[name];
        const auto answer = book_.assign(wish);
        check_kept(wish, answer.addresses);
        held_[name] = answer.addresses;
        changed |= answer.changed;
      }
      if (!changed) return;
    }
    ADD_FAILURE() << "the Services never agree";
  }

  void check_rules() const {
    for (const auto& [name, wish] : wishes_) {
      for (const IpAddress& address : held_.at(name)) {
        EXPECT_TRUE(in_pools(address)) << name << " has " << address.to_string();
        EXPECT_NE(std::ranges::find(wish.families, address.family()), wish.families.end());
        for (const IpAddress& asked : wish.asked)
          EXPECT_TRUE(asked == address || asked.family() != address.family()) << name;
        EXPECT_TRUE(fits(wish, address)) << name << " and another have " << address.to_string();
      }
      for (const IpFamily family : wish.families) check_not_forgotten(wish, family);
    }
  }

 private:
  static std::vector<AddressRange> ranges() {
    return pools({"192.0.2.1-192.0.2.3", "192.0.2.9", "2001:db8::1-2001:db8::2"});
  }
  static bool in_pools(const IpAddress& address) {
    return std::ranges::any_of(ranges(), [&](const auto& r) { return r.contains(address); });
  }
  static std::vector<IpAddress> everything() {
    std::vector<IpAddress> out;
    for (const AddressRange& range : ranges()) {
      for (IpAddress a = range.first; range.contains(a); a = a.plus(1)) out.push_back(a);
    }
    return out;
  }
  static AddressWish random_wish(const std::string& name, std::mt19937& random) {
    AddressWish out = wish(name);
    if (random() % 3 == 0) out.families.push_back(IpFamily::V6);
    out.ports.clear();
    for (const Protocol protocol : {Protocol::Tcp, Protocol::Udp})
      out.ports.emplace(protocol, static_cast<std::uint16_t>(random() % 3));
    if (random() % 2 == 0) out.sharing_key = random() % 2 == 0 ? "one" : "two";
    if (random() % 5 == 0) out.local_selector = selecting(random() % 2 == 0 ? "x" : "y");
    if (random() % 4 == 0) out.asked = {everything()[random() % everything().size()]};
    if (random() % 20 == 0) out.asked = {ip("203.0.113.1")};
    std::erase_if(out.asked, [&](const IpAddress& a) {
      return std::ranges::find(out.families, a.family()) == out.families.end();
    });
    return out;
  }
  static bool agree(const AddressWish& a, const AddressWish& b) {
    if (a.sharing_key.empty() || a.sharing_key != b.sharing_key) return false;
    if (a.local_selector != b.local_selector) return false;
    return std::ranges::none_of(a.ports, [&](const auto& p) { return b.ports.contains(p); });
  }
  // Whether everyone else who has the address agrees with this one.
  bool fits(const AddressWish& wish, const IpAddress& address) const {
    return std::ranges::all_of(held_, [&](const auto& entry) {
      const auto& [name, addresses] = entry;
      const bool has = std::ranges::find(addresses, address) != addresses.end();
      return name == wish.service.name || !has || agree(wishes_.at(name), wish);
    });
  }
  bool wants(const AddressWish& wish, const IpAddress& address) const {
    const auto asked = std::ranges::find(wish.asked, address.family(), &IpAddress::family);
    return asked == wish.asked.end() || *asked == address;
  }
  void check_not_forgotten(const AddressWish& wish, IpFamily family) const {
    const auto& has = held_.at(wish.service.name);
    if (std::ranges::find(has, family, &IpAddress::family) != has.end()) return;
    for (const IpAddress& address : everything()) {
      const bool alone = std::ranges::none_of(held_, [&](const auto& entry) {
        return std::ranges::find(entry.second, address) != entry.second.end();
      });
      if (address.family() != family || !wants(wish, address)) continue;
      EXPECT_FALSE(alone) << wish.service.name << " has nothing, and " << address.to_string()
                          << " is free";
    }
  }
  // What it had and may have, it keeps.
  void check_kept(const AddressWish& wish, const std::vector<IpAddress>& now) const {
    for (const IpAddress& had : wish.held) {
      const bool may = std::ranges::find(wish.families, had.family()) != wish.families.end() &&
                       wants(wish, had) && fits(wish, had);
      if (may) EXPECT_NE(std::ranges::find(now, had), now.end()) << wish.service.name;
    }
  }

  LoadBalancerAddresses book_;
  std::map<std::string, AddressWish> wishes_;
  std::map<std::string, std::vector<IpAddress>> held_;
};

TEST(LoadBalancerAddresses, RulesHoldWhateverServicesDo) {
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    World world;
    for (int step = 0; step < 60; ++step) {
      world.step(random);
      world.check_rules();
    }
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace fairlead::controllers
