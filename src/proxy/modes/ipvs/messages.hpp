// The kernel's words for our values: generic netlink of IPVS, ipset's part of nfnetlink, rtnetlink
// for the dummy device. Builders and readers only; no sockets.
#pragma once

#include <optional>

#include "proxy/modes/ipvs/kernel.hpp"
#include "proxy/modes/ipvs/wire.hpp"

namespace fairlead::ipvs {

// ---- IPVS; `family_id` is what generic netlink calls it at run time -----------------------------

MessageBuilder server_message(std::uint16_t family_id, const PutServer& put);
MessageBuilder server_message(std::uint16_t family_id, const DeleteServer& gone);
MessageBuilder destination_message(std::uint16_t family_id, const PutDestination& put);
MessageBuilder destination_message(std::uint16_t family_id, const DeleteDestination& gone);
MessageBuilder list_servers(std::uint16_t family_id);
MessageBuilder list_destinations(std::uint16_t family_id, const ServerKey& server);
MessageBuilder find_family(std::string_view name);
std::uint16_t read_family_id(Bytes message);
// Zero keeps the kernel's value.
MessageBuilder set_timeouts(std::uint16_t family_id, std::uint32_t tcp, std::uint32_t fin,
                            std::uint32_t udp);

struct ListedServer {
  ServerKey key;
  Server server;  // without destinations
  TrafficSample traffic;
};
std::optional<ListedServer> read_server(Bytes message);
struct ListedDestination {
  Destination destination;
  Connections connections;
  TrafficSample traffic;
};
std::optional<ListedDestination> read_destination(Bytes message, const ServerKey& server);

// ---- sets ---------------------------------------------------------------------------------------

MessageBuilder create_set(SetId set, IpFamily family);
MessageBuilder destroy_set(SetId set, IpFamily family);
MessageBuilder destroy_set(std::string_view name, IpFamily family);
MessageBuilder list_set(std::string_view name, IpFamily family);
MessageBuilder entry_message(const SetEntry& entry, bool add);
// A set of the shape that `set` should have, beside it; its entries; and the change of places, by
// name and in all rules that speak of either.
MessageBuilder create_spare(SetId set, IpFamily family);
MessageBuilder spare_entry_message(const SetEntry& entry);
MessageBuilder swap_with_spare(SetId set, IpFamily family);
MessageBuilder destroy_spare(IpFamily family);
// Entries of one message of a listing.
std::vector<SetEntry> read_entries(Bytes message, SetId set, IpFamily family);

// ---- the device ---------------------------------------------------------------------------------

MessageBuilder create_device();
MessageBuilder delete_device();
MessageBuilder address_message(int device, const IpAddress& address, bool add);
MessageBuilder list_addresses(IpFamily family);
struct ListedAddress {
  int device = 0;
  IpAddress address;
  bool added = true;
};
std::optional<ListedAddress> read_address(Bytes message);

}  // namespace fairlead::ipvs
