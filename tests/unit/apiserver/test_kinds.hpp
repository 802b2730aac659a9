// Two small kinds for tests of the generic path: Namespace, and Widget, which uses every hook: a
// default colour, a number allocated from a shared range, a generation, graceful deletion when it
// sits on a shelf.
#pragma once

#include <boost/json/array.hpp>
#include <memory>
#include <string>
#include <vector>

#include "apiserver/registry.hpp"
#include "apiserver/strategy.hpp"

namespace fairlead::apiserver {

class TestStrategy : public Strategy {
 public:
  using Strategy::Strategy;
  void apply_defaults(Document&) const override {}
  void prepare_create(const RequestContext&, Document&) const override {}
  void prepare_update(const RequestContext&, const Document& old,
                      Document& document) const override {
    if (const auto* status = old.if_contains("status")) document["status"] = *status;
  }
  FieldErrors validate_create(const RequestContext&, const Document&) const override { return {}; }
  FieldErrors validate_update(const RequestContext&, const Document&,
                              const Document&) const override {
    return {};
  }
  const std::vector<TableColumn>& table_columns() const override { return columns_; }
  boost::json::array table_cells(const Document& document, WallTime now) const override {
    return {text_value(string_at(document, "metadata.name")), text_value(age_text(document, now))};
  }

 private:
  std::vector<TableColumn> columns_{{.name = "Name", .format = "name"}, {.name = "Age"}};
};

class TestNamespaces final : public TestStrategy {
 public:
  TestNamespaces()
      : TestStrategy({.version = "v1",
                      .resource = "namespaces",
                      .singular = "namespace",
                      .kind = "Namespace",
                      .short_names = {"ns"},
                      .namespaced = false,
                      .storage_prefix = "/registry/namespaces/"}) {}
  ApiResult<DeletionRule> deletion_rule(const Document&, const DeleteOptions&) const override {
    return DeletionRule{.how = DeletionRule::How::Mark};
  }
  void mark_deleting(Document& document) const override {
    ensure_object(document, "status")["phase"] = "Terminating";
  }
  bool is_held(const Document& document) const override {
    return array_at(document, "spec.finalizers") != nullptr;
  }
};

inline constexpr std::string_view kNumbers = "/registry/ranges/numbers/";

class TestWidgets final : public TestStrategy {
 public:
  TestWidgets()
      : TestStrategy({.group = "test.io",
                      .version = "v1",
                      .resource = "widgets",
                      .singular = "widget",
                      .kind = "Widget",
                      .categories = {"all"},
                      .subresources = {{.name = "status", .verbs = {"get", "patch", "update"}}},
                      .storage_prefix = "/registry/widgets/"}) {}

  ApiResult<std::vector<std::string>> conform(Document& document) const override {
    std::vector<std::string> unknown;
    const auto* spec = document.if_contains("spec");
    if (spec != nullptr && !spec->is_object()) return bad_request("spec: must be an object");
    if (document.erase("surprise") > 0) unknown.emplace_back("surprise");
    return unknown;
  }
  void apply_defaults(Document& document) const override {
    Document& spec = ensure_object(document, "spec");
    if (!spec.contains("colour")) spec["colour"] = "grey";
  }
  void prepare_create(const RequestContext&, Document& document) const override {
    document.erase("status");
  }
  ApiResult<void> allocate(const RequestContext& context, Transaction& transaction,
                           const Document* old, Document& document) const override {
    if (old != nullptr) {
      ensure_object(document, "spec")["number"] = int_at(*old, "spec.number").value_or(0);
      return {};
    }
    for (std::int64_t number = 1; number <= 3; ++number) {
      const std::string key = fmt::format("{}{}", kNumbers, number);
      if (transaction.exists(key)) continue;
      if (!context.dry_run) transaction.put(key, {{"owner", string_at(document, "metadata.name")}});
      ensure_object(document, "spec")["number"] = number;
      return {};
    }
    return internal_error("all numbers are taken");
  }
  void release(Transaction& transaction, const Document& document) const override {
    transaction.remove(fmt::format("{}{}", kNumbers, int_at(document, "spec.number").value_or(0)));
  }
  FieldErrors validate_create(const RequestContext&, const Document& document) const override {
    if (string_at(document, "spec.colour") != "ugly") return {};
    return {invalid("spec.colour", "ugly", "must please")};
  }
  FieldErrors validate_update(const RequestContext& context, const Document&,
                              const Document& document) const override {
    return validate_create(context, document);
  }
  bool put_may_create() const override { return true; }
  bool has_generation() const override { return true; }
  bool bumps_generation(const Document& old, const Document& document) const override {
    return old.at("spec") != document.at("spec");
  }
  ApiResult<DeletionRule> deletion_rule(const Document& document,
                                        const DeleteOptions& options) const override {
    if (string_at(document, "spec.shelf").empty()) return DeletionRule{};
    const std::int64_t grace = options.grace_period_seconds.value_or(30);
    if (grace == 0) return DeletionRule{};
    return DeletionRule{.how = DeletionRule::How::Graceful, .grace_seconds = grace};
  }
  std::vector<std::pair<std::string, std::string>> selectable_fields(
      const Document& document) const override {
    return {{"spec.colour", std::string(string_at(document, "spec.colour"))}};
  }
};

inline Strategies test_strategies() {
  Strategies out;
  out.push_back(std::make_unique<TestNamespaces>());
  out.push_back(std::make_unique<TestWidgets>());
  return out;
}

}  // namespace fairlead::apiserver
