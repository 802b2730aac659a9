#include "proxy/modes/nftables/render.hpp"

#include <algorithm>
#include <iterator>
#include <set>

namespace fairlead::nftables {
namespace {

using plan::Backend;
using plan::Frontend;
using plan::FrontendKind;
using plan::NodePlan;
using plan::Pool;
using plan::ServicePlan;
using plan::Target;

SocketAddress endpoint_of(const Backend& backend) {
  return {.address = backend.address, .port = backend.port};
}

// ---- tokens ----

constexpr std::uint64_t kHashBegin = 0xcbf29ce484222325ULL;

std::uint64_t fnv1a(std::uint64_t hash, std::span<const std::uint8_t> bytes) {
  for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001b3ULL;
  return hash;
}

std::uint32_t first_token(const plan::ServicePortName& name, const Backend& backend) {
  const std::string text = fmt::format("{}/{}", name.to_string(), to_lower(name.protocol));
  std::uint64_t hash = kHashBegin;
  hash = fnv1a(hash, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  hash = fnv1a(hash, backend.address.bytes());
  const auto port = number(backend.port);
  hash = fnv1a(hash, std::array{static_cast<std::uint8_t>(port >> 8U),
                                static_cast<std::uint8_t>(port & 0xffU)});
  return static_cast<std::uint32_t>(hash ^ (hash >> 32U)) & ~kNumberMask;
}

// A token names one backend of one service port, the same in every run and whatever happened
// before, so that what the kernel has learnt outlives restarts. Within a service port tokens are
// distinct (the next free one is taken); two service ports may share one by chance, which costs
// nothing but that a client sticky to one backend is sticky to the other as well.
using Tokens = std::map<SocketAddress, std::uint32_t>;

Tokens tokens_of(const ServicePlan& service) {
  Tokens tokens;
  for (const Pool* pool : {&service.cluster_pool, &service.local_pool}) {
    for (const Backend& backend : *pool) tokens.emplace(endpoint_of(backend), 0);
  }
  std::set<std::uint32_t> taken;
  for (auto& [endpoint, token] : tokens) {
    token =
        first_token(service.key.service_port, {.address = endpoint.address, .port = endpoint.port});
    while (!taken.insert(token).second) token = (token + 1) & ~kNumberMask;
  }
  return tokens;
}

// ---- one service ----

// nft refuses comments of 128 bytes; a service port's name can be longer.
std::string comment_for(const plan::ServicePortName& name) {
  constexpr std::size_t kLongest = 120;
  std::string text = name.to_string();
  if (text.size() > kLongest) text = text.substr(0, kLongest - 3) + "...";
  return text;
}

std::optional<Shape> shape_of(const ServicePlan& service, const Frontend& frontend,
                              const NodePlan& node) {
  const bool node_port = frontend.kind == FrontendKind::NodePort;
  const auto pick = [&](const Pool& pool, bool local) -> std::optional<Pick> {
    if (pool.empty()) return std::nullopt;
    return Pick{.node_port = node_port,
                .local = local,
                .size = static_cast<std::uint32_t>(pool.size()),
                .sticky = service.affinity.value_or(std::chrono::seconds{0})};
  };
  Shape shape;
  if (frontend.target == Target::ClusterPool) shape.general = pick(service.cluster_pool, false);
  if (frontend.target == Target::LocalPool) shape.general = pick(service.local_pool, true);
  if (frontend.short_circuit) shape.short_circuit = pick(service.cluster_pool, false);
  if (!shape.general && !shape.short_circuit) return std::nullopt;
  if (!shape.general) return shape;
  shape.masquerade = frontend.masquerade;
  if (shape.masquerade == plan::Masquerade::OffCluster && !node.detector.implemented()) {
    shape.masquerade = plan::Masquerade::Never;
  }
  if (node.masquerade_all && frontend.kind == FrontendKind::ClusterIp)
    shape.masquerade = plan::Masquerade::Always;
  return shape;
}

// Prefixes are nested or disjoint, and the kernel's interval set refuses nested ones: the outermost
// say it all.
std::vector<IpPrefix> outermost(std::vector<IpPrefix> ranges, IpFamily family) {
  std::erase_if(ranges, [family](const IpPrefix& range) { return range.family() != family; });
  std::ranges::sort(ranges, {},
                    [](const IpPrefix& range) { return std::pair{range.length(), range}; });
  std::vector<IpPrefix> kept;
  for (const IpPrefix& range : ranges) {
    const bool covered =
        std::ranges::any_of(kept, [&](const IpPrefix& outer) { return outer.contains(range); });
    if (!covered) kept.push_back(range);
  }
  return kept;
}

class ServiceRenderer {
 public:
  ServiceRenderer(const ServicePlan& service, const Layout& layout, const NodePlan& node)
      : service_(service), layout_(layout), node_(node) {
    if (service.affinity) tokens_ = tokens_of(service);
  }

  ServiceRules render() {
    for (const Frontend& frontend : service_.frontends) add_frontend(frontend);
    std::ranges::sort(rules_.own);
    const auto repeated = std::ranges::unique(rules_.own);  // pools that two picks share
    rules_.own.erase(repeated.begin(), repeated.end());
    return std::move(rules_);
  }

 private:
  Key frontend_key(const Frontend& frontend) const {
    Key key;
    if (frontend.kind != FrontendKind::NodePort) key.address(frontend.address);
    return key.protocol(service_.key.service_port.protocol).port(frontend.port);
  }

  void add_frontend(const Frontend& frontend) {
    const bool node_port = frontend.kind == FrontendKind::NodePort;
    const Key key = frontend_key(frontend);
    add_source_ranges(frontend, key);
    // A load-balancer address may be listed as an external one as well: the first says where it
    // leads.
    if (!seen_.emplace(node_port, key).second) return;
    const std::optional<Shape> shape = shape_of(service_, frontend, node_);
    if (shape) {
      add({.set = node_port ? SetId::NodePorts : SetId::Services,
           .key = key,
           .data = Verdict{.code = Verdict::Code::Goto, .chain = shape->chain_name()}});
      for (const auto& pick : {shape->general, shape->short_circuit}) {
        if (pick) add_pool(key, *pick);
      }
      rules_.shapes.push_back(*shape);
    }
    if (!shape || !shape->general) {
      add({.set = refusal(frontend), .key = key});
    }
    if (frontend.kind == FrontendKind::ClusterIp) {
      rules_.shared.push_back({.set = SetId::ClusterIps, .key = Key{}.address(frontend.address)});
    }
  }

  // An empty pool the compiler did not decide about is treated as it would have been: silence under
  // policy Local.
  static SetId refusal(const Frontend& frontend) {
    const bool node_port = frontend.kind == FrontendKind::NodePort;
    if (frontend.target == Target::Drop || frontend.target == Target::LocalPool)
      return node_port ? SetId::SilentNodePorts : SetId::Silent;
    return node_port ? SetId::NoEndpointNodePorts : SetId::NoEndpoints;
  }

  void add_pool(const Key& frontend, const Pick& pick) {
    const Pool& pool = pick.local ? layout_.local : layout_.cluster;
    std::uint32_t slot = pick.local ? kLocalSlots : kClusterSlots;
    for (const Backend& backend : pool) {
      add_backend(frontend, pick, slot++, backend);
      if (backend.local) add_hairpin(backend);
    }
  }

  void add_backend(const Key& frontend, const Pick& pick, std::uint32_t slot,
                   const Backend& backend) {
    const Key value = Key{}.address(backend.address).port(backend.port);
    const Key in_slot = Key{frontend}.number_in_host_order(slot);
    if (!service_.affinity) {
      rules_.own.push_back({.set = pick.node_port ? SetId::NodePortSlots : SetId::Slots,
                            .key = in_slot,
                            .data = value});
      return;
    }
    const std::uint32_t token = kNumberBase | tokens_.at(endpoint_of(backend));
    rules_.own.push_back({.set = pick.node_port ? SetId::NodePortTokens : SetId::Tokens,
                          .key = in_slot,
                          .data = Key{}.number_in_host_order(token)});
    rules_.own.push_back({.set = pick.node_port ? SetId::NodePortMembers : SetId::Members,
                          .key = Key{frontend}.number_in_host_order(token),
                          .data = value});
  }

  // A backend elsewhere talks to itself through its own node, not through this one.
  void add_hairpin(const Backend& backend) {
    const Protocol protocol = service_.key.service_port.protocol;
    const Key key = Key{}
                        .address(backend.address)
                        .address(backend.address)
                        .protocol(protocol)
                        .port(backend.port);
    if (!hairpins_.insert(key).second) return;
    rules_.shared.push_back({.set = SetId::Hairpin, .key = key});
  }

  void add_source_ranges(const Frontend& frontend, const Key& key) {
    if (frontend.source_ranges.empty()) return;
    add({.set = SetId::Firewalled, .key = key});
    for (const IpPrefix& range : outermost(frontend.source_ranges, service_.key.family)) {
      rules_.own.push_back({.set = SetId::AllowedSources,
                            .key = Key{key}.address(range.address()),
                            .key_end = Key{key}.address(range.last())});
    }
  }

  void add(Element element) {
    element.comment = comment_for(service_.key.service_port);
    rules_.own.push_back(std::move(element));
  }

  const ServicePlan& service_;
  const Layout& layout_;
  const NodePlan& node_;
  Tokens tokens_;
  std::set<std::pair<bool, Key>> seen_;  // frontends, by (is a node port, key)
  std::set<Key> hairpins_;
  ServiceRules rules_;
};

// Chains of the shapes among `names`, in an order in which every jump's target comes first.
void append_chain(std::vector<Chain>& to, const Shape& shape, const std::string& name,
                  const NodePlan& node) {
  for (Chain& chain : chains_of(shape, node)) {
    if (chain.name == name) to.push_back(std::move(chain));
  }
}

// Is `name` one of the shape's chains of one or two rules, of which there can only be as many as
// there are sizes of pools?
bool is_lasting(const Shape& shape, const std::string& name) {
  if (shape.general && shape.general->sticky.count() == 0 && !shape.short_circuit) return true;
  return std::ranges::any_of(std::array{shape.general, shape.short_circuit}, [&](const auto& pick) {
    return pick && pick->sticky.count() == 0 && pick->chain_name() == name;
  });
}

}  // namespace

std::set<std::uint32_t> affinity_tokens(const ServicePlan& service) {
  std::set<std::uint32_t> out;
  if (!service.affinity) return out;
  for (const auto& [endpoint, token] : tokens_of(service)) out.insert(kNumberBase | token);
  return out;
}

// Others need them in order to start at all.
bool is_urgent(const ServicePlan& service) {
  constexpr Port kDns{53};
  const plan::ServicePortName& name = service.key.service_port;
  if (name.namespace_ == "default" && name.name == "kubernetes") return true;
  return name.namespace_ == "kube-system" &&
         std::ranges::any_of(service.frontends,
                             [](const Frontend& frontend) { return frontend.port == kDns; });
}

ServiceRules render_service(const ServicePlan& service, const Layout& layout,
                            const NodePlan& node) {
  return ServiceRenderer(service, layout, node).render();
}

Pool keep_places(const Pool& before, const Pool& pool) {
  std::map<SocketAddress, Backend> homeless;
  for (const Backend& backend : pool) homeless.emplace(endpoint_of(backend), backend);
  std::vector<std::optional<Backend>> slots(pool.size());
  for (std::size_t i = 0; i < std::min(before.size(), pool.size()); ++i) {
    if (auto node = homeless.extract(endpoint_of(before[i]))) slots[i] = node.mapped();
  }
  Pool placed;
  placed.reserve(pool.size());
  auto next = homeless.begin();
  for (const auto& slot : slots) placed.push_back(slot ? *slot : (next++)->second);
  return placed;
}

std::size_t Renderer::KeyHash::operator()(const std::pair<SetId, Key>& key) const noexcept {
  return static_cast<std::size_t>(
      fnv1a(kHashBegin + static_cast<std::uint64_t>(key.first), key.second.bytes()));
}

Layout Renderer::layout_of(const ServicePlan& service) const {
  if (!moved_.empty()) {
    if (const auto it = moved_.find(service.key); it != moved_.end()) return it->second;
  }
  return {.cluster = service.cluster_pool, .local = service.local_pool};
}

void Renderer::remember(const ServicePlan& service, Layout layout) {
  if (layout == Layout{.cluster = service.cluster_pool, .local = service.local_pool}) {
    moved_.erase(service.key);
  } else {
    moved_.insert_or_assign(service.key, std::move(layout));
  }
}

// ---- numbers of shapes ----

// Numbers come from names, so that they are the same in every run; of two names that would get the
// same, the later one is given the next that is free.
std::uint32_t Renderer::number_of(const std::string& chain) {
  const auto [place, is_new] = numbers_.try_emplace(chain);
  if (!is_new) return place->second;
  const std::uint64_t hash =
      fnv1a(kHashBegin, {reinterpret_cast<const std::uint8_t*>(chain.data()), chain.size()});
  auto number = static_cast<std::uint32_t>(hash ^ (hash >> 32U)) & ~kNumberMask;
  while (!taken_.insert(kNumberBase | number).second) number = (number + 1) & ~kNumberMask;
  return place->second = kNumberBase | number;
}

void Renderer::forget_number(const std::string& chain) {
  const auto it = numbers_.find(chain);
  if (it == numbers_.end()) return;
  taken_.erase(it->second);
  numbers_.erase(it);
}

ServiceRules Renderer::rules_of(const ServicePlan& service, const Layout& layout) {
  ServiceRules rules = render_service(service, layout, node_);
  for (Element& element : rules.own) {
    if (const auto* verdict = std::get_if<Verdict>(&element.data))
      element.data = Key{}.number_in_host_order(number_of(verdict->chain));
  }
  return rules;
}

Element Renderer::way_to(const std::string& chain) {
  return {.set = SetId::Shapes,
          .key = Key{}.number_in_host_order(number_of(chain)),
          .data = Verdict{.code = Verdict::Code::Goto, .chain = chain}};
}

// ---- the whole table ----

void Renderer::count(const ServicePlan& service) {
  const ServiceRules rules = rules_of(service, layout_of(service));
  for (const Element& element : rules.shared) ++shared_[{element.set, element.key}];
  for (const Shape& shape : rules.shapes) {
    for (const std::string& name : shape.chain_names()) {
      auto& chain = chains_[name];
      ++chain.users;
      chain.shape = shape;
      number_of(name);
    }
  }
}

void Renderer::start(const plan::Plan& plan) {
  node_ = plan.nodes.at(family_);
  chains_.clear();
  shared_.clear();
  moved_.clear();
  numbers_.clear();
  taken_.clear();
}

void Renderer::full(const plan::Plan& plan, OperationSink& out) {
  first(plan, out);
  rest(plan, out);
}

void Renderer::first(const plan::Plan& plan, OperationSink& out) {
  start(plan);
  for (const auto& [key, service] : plan.services) {
    if (key.family == family_) count(*service);
  }
  emit_frame(out);
  emit_services(plan, true, out);
}

void Renderer::rest(const plan::Plan& plan, OperationSink& out) { emit_services(plan, false, out); }

void Renderer::expected(const plan::Plan& plan, OperationSink& out) {
  emit_frame(out);
  emit_services(plan, true, out);
  emit_services(plan, false, out);
}

// Where a backend sits is where the table has it, and numbers are the table's.
void Renderer::adopt(const plan::Plan& plan, const Snapshot& table) {
  start(plan);
  for (const Element& way : table.of(SetId::Shapes)) {
    const auto* verdict = std::get_if<Verdict>(&way.data);
    const std::uint32_t number = way.key.last_number();
    taken_.insert(number);
    if (verdict != nullptr) numbers_.try_emplace(verdict->chain, number);
  }
  for (const auto& [key, service] : plan.services) {
    if (key.family != family_) continue;
    const Layout there = layout_in(table, *service);
    remember(*service, {.cluster = keep_places(there.cluster, service->cluster_pool),
                        .local = keep_places(there.local, service->local_pool)});
    count(*service);
  }
}

std::vector<Chain> Renderer::chains() const {
  std::vector<Chain> chains = fixed_chains(node_, family_);
  for (const auto& [name, chain] : chains_) append_chain(chains, chain.shape, name, node_);
  return chains;
}

void Renderer::emit_frame(OperationSink& out) {
  out.add({family_, AddTable{}});
  for (const SetId set : kAllSets) out.add({family_, AddSet{set}});
  emit_chains(chains(), family_, out);
  for (const auto& [name, chain] : chains_) out.add({family_, AddElement{way_to(name)}});
  for (const IpAddress& address : node_.node_port_addresses.value_or(std::vector<IpAddress>{})) {
    if (address.family() != family_) continue;
    out.add(
        {family_, AddElement{{.set = SetId::NodePortAddresses, .key = Key{}.address(address)}}});
  }
}

// What urgent services share with others comes with them.
void Renderer::emit_services(const plan::Plan& plan, bool urgent, OperationSink& out) {
  std::set<std::pair<SetId, Key>> early;
  for (const auto& [key, service] : plan.services) {
    if (key.family != family_ || !is_urgent(*service)) continue;
    for (const Element& element : render_service(*service, layout_of(*service), node_).shared)
      early.insert({element.set, element.key});
  }
  std::vector<std::pair<SetId, Key>> shared;
  for (const auto& [element, users] : shared_) {
    if (early.contains(element) == urgent) shared.push_back(element);
  }
  std::ranges::sort(shared);
  for (const auto& [set, key] : shared) out.add({family_, AddElement{{.set = set, .key = key}}});
  for (const auto& [key, service] : plan.services) {
    if (key.family != family_ || is_urgent(*service) != urgent) continue;
    for (Element& element : rules_of(*service, layout_of(*service)).own) {
      out.add({family_, AddElement{std::move(element)}});
    }
  }
}

// ---- a change ----

struct Renderer::Pending {
  struct ChainChange {
    std::int64_t users = 0;
    Shape shape;
  };
  TableChange table;
  std::map<std::pair<SetId, Key>, std::int64_t> shared;
  std::map<std::string, ChainChange> chains;

  void use(const ServiceRules& rules, std::int64_t sign) {
    for (const Element& element : rules.shared) shared[{element.set, element.key}] += sign;
    for (const Shape& shape : rules.shapes) {
      for (const std::string& name : shape.chain_names()) {
        auto& chain = chains[name];
        chain.users += sign;
        chain.shape = shape;
      }
    }
  }
};

std::vector<std::vector<Operation>> Renderer::delta(const plan::PlanDelta& delta) {
  Pending pending;
  for (const plan::ServiceChange& one : delta.services) {
    const plan::PlanKey& key = one.after ? one.after->key : one.before->key;
    if (key.family == family_) change(one, pending);
  }
  settle_shared(pending);
  settle_chains(pending);
  return in_steps(std::move(pending.table), family_);
}

void Renderer::change(const plan::ServiceChange& change, Pending& pending) {
  ServiceRules before;
  ServiceRules after;
  Layout layout;
  if (change.before) {
    layout = layout_of(*change.before);
    before = rules_of(*change.before, layout);
  }
  if (change.after) {
    layout = {.cluster = keep_places(layout.cluster, change.after->cluster_pool),
              .local = keep_places(layout.local, change.after->local_pool)};
    after = rules_of(*change.after, layout);
    remember(*change.after, std::move(layout));
  } else {
    moved_.erase(change.before->key);
  }
  // Elements compare as whole values: one whose datum changed is removed and added again.
  std::ranges::set_difference(before.own, after.own, std::back_inserter(pending.table.removed));
  std::ranges::set_difference(after.own, before.own, std::back_inserter(pending.table.added));
  pending.use(before, -1);
  pending.use(after, +1);
}

void Renderer::settle_shared(Pending& pending) {
  for (const auto& [element, users] : pending.shared) {
    if (users == 0) continue;
    const auto it = shared_.find(element);
    const std::int64_t had = it == shared_.end() ? 0 : it->second;
    check(had + users >= 0, "no shared element has fewer than no users");
    Element value{.set = element.first, .key = element.second};
    if (had + users == 0) {
      shared_.erase(it);
      pending.table.removed.push_back(std::move(value));
      continue;
    }
    if (had == 0) pending.table.added.push_back(std::move(value));
    shared_[element] = static_cast<std::uint32_t>(had + users);
  }
}

void Renderer::settle_chains(Pending& pending) {
  for (const auto& [name, change] : pending.chains) {
    if (change.users == 0) continue;
    const auto [place, is_new] = chains_.try_emplace(name);
    const std::int64_t users = place->second.users + change.users;
    check(users >= 0, "no chain has fewer than no users");
    if (is_new) {
      append_chain(pending.table.fresh, change.shape, name, node_);
      pending.table.added.push_back(way_to(name));
    }
    place->second = {.users = static_cast<std::uint32_t>(users), .shape = change.shape};
    if (users == 0 && !is_lasting(change.shape, name)) {
      chains_.erase(name);
      pending.table.removed.push_back(way_to(name));
      forget_number(name);
      pending.table.stale.push_back(name);
    }
  }
}

}  // namespace fairlead::nftables
