// A catalog over an engine in memory, fed with commands as a group would: in batches of any size.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catalog/catalog.h"
#include "kv/memory_engine.h"
#include "tests/runtime/manual_executor.h"

namespace tenure::catalog {

class TestCatalog {
 public:
  explicit TestCatalog(CatalogLimits limits = {}) : limits_(limits) { Reopen(); }

  // The process starts again from what is in the engine.
  void Reopen() {
    catalog_ = std::make_unique<Catalog>(limits_);
    const kv::PrefixReader state(engine_, kPrefix);
    catalog_->Reset(state, applied_);
  }

  // One batch.
  std::vector<ipb::CatalogResult> ApplyBatch(std::vector<ipb::CatalogCommand> commands) {
    kv::Overlay overlay(engine_, kPrefix);
    std::vector<ipb::CatalogResult> results;
    for (ipb::CatalogCommand& command : commands) {
      applied_ = applied_.Next();
      results.push_back(catalog_->Apply(std::move(command), applied_, term_, overlay));
    }
    catalog_->FinishBatch(overlay);
    engine_.Write(overlay.TakeBatch());
    return results;
  }
  ipb::CatalogResult Apply(ipb::CatalogCommand command) {
    std::vector<ipb::CatalogCommand> commands;
    commands.push_back(std::move(command));
    return ApplyBatch(std::move(commands)).front();
  }
  void Initialize() { Apply(InitializeCommand()); }

  static ipb::CatalogCommand Command() {
    ipb::CatalogCommand command;
    command.set_version(1);
    command.set_now_ms(1000);
    return command;
  }
  static ipb::CatalogCommand InitializeCommand() {
    ipb::CatalogCommand command = Command();
    auto& initialize = *command.mutable_initialize_cluster();
    initialize.mutable_cluster()->set_cluster_id("cluster");
    initialize.mutable_cluster()->set_format_version(1);
    for (uint64_t id = 1; id <= 3; ++id) {
      pb::ControllerRecord& controller = *initialize.add_controllers();
      controller.set_id(id);
      controller.set_address("10.0.0." + std::to_string(id) + ":7100");
      controller.set_voter(true);
    }
    return command;
  }
  static ipb::CatalogCommand Put(std::string_view key, std::string_view value) {
    ipb::CatalogCommand command = Command();
    command.mutable_put_entry()->set_key(std::string(key));
    command.mutable_put_entry()->set_value(std::string(value));
    return command;
  }
  static ipb::CatalogCommand Delete(std::string_view key) {
    ipb::CatalogCommand command = Command();
    command.mutable_delete_entry()->set_key(std::string(key));
    return command;
  }
  static ipb::CatalogCommand Register(std::string_view uuid, std::string_view address,
                                      std::string_view resp = "") {
    ipb::CatalogCommand command = Command();
    pb::NodeRecord& node = *command.mutable_register_node()->mutable_node();
    node.set_uuid(std::string(uuid));
    node.set_address(std::string(address));
    node.set_resp_address(std::string(resp));
    return command;
  }
  static ipb::CatalogCommand NodeTo(uint64_t node, pb::NodeState state, uint64_t registration = 0) {
    ipb::CatalogCommand command = Command();
    command.mutable_set_node_state()->set_node(node);
    command.mutable_set_node_state()->set_state(state);
    command.mutable_set_node_state()->set_if_registration_epoch(registration);
    return command;
  }
  static ipb::CatalogCommand CreateDatabase(std::string_view name, uint32_t regions,
                                            std::vector<uint64_t> nodes) {
    ipb::CatalogCommand command = Command();
    auto& create = *command.mutable_create_database();
    create.set_name(std::string(name));
    create.set_replicas(static_cast<uint32_t>(nodes.size()));
    for (uint32_t i = 0; i < regions; ++i) {
      auto& region = *create.add_regions();
      region.mutable_slots()->set_first(i * 16384 / regions);
      region.mutable_slots()->set_last((i + 1) * 16384 / regions - 1);
      for (const uint64_t node : nodes) region.add_nodes(node);
    }
    return command;
  }
  static ipb::CatalogCommand DatabaseTo(uint64_t id, pb::DatabaseState from, pb::DatabaseState to) {
    ipb::CatalogCommand command = Command();
    auto& set = *command.mutable_set_database_state();
    set.set_database(id);
    set.set_from(from);
    set.set_to(to);
    return command;
  }
  static ipb::CatalogCommand RegionTo(uint64_t id, pb::RegionState from, pb::RegionState to) {
    ipb::CatalogCommand command = Command();
    auto& set = *command.mutable_set_region_state();
    set.set_region(id);
    set.set_from(from);
    set.set_to(to);
    return command;
  }
  static ipb::CatalogCommand WithId(ipb::CatalogCommand command, uint64_t client, uint64_t sequence,
                                    uint64_t answered_below = 1, int64_t now_ms = 1000) {
    command.mutable_id()->set_client_id(client);
    command.mutable_id()->set_sequence(sequence);
    command.mutable_id()->set_answered_below(answered_below);
    command.set_now_ms(now_ms);
    return command;
  }

  // Everything the engine holds, in order.
  std::string Dump() const {
    std::string out;
    const auto iterator = engine_.NewIterator("", "");
    for (; iterator->Valid(); iterator->Next()) {
      out += std::to_string(iterator->key().size()) + ":" + std::string(iterator->key());
      out += std::to_string(iterator->value().size()) + ":" + std::string(iterator->value());
    }
    return out;
  }

  std::optional<pb::Record> Entry(std::string_view key) const {
    return Catalog::GetEntry(key, kv::PrefixReader(engine_, kPrefix));
  }
  Catalog::EntryPage List(std::string_view prefix, std::string_view after = "", size_t limit = 1000,
                          bool keys_only = false) const {
    return Catalog::ListEntries(prefix, after, limit, keys_only, kv::PrefixReader(engine_, kPrefix));
  }

  kv::PrefixReader state() const { return kv::PrefixReader(engine_, kPrefix); }
  // What another version of the program may have left.
  void WriteRaw(std::string_view key, std::string_view value) {
    kv::Batch batch;
    batch.Put(kPrefix + std::string(key), std::string(value));
    engine_.Write(std::move(batch));
  }
  Catalog& catalog() { return *catalog_; }
  Revision applied() const { return applied_; }
  void set_term(uint64_t term) { term_ = Term(term); }
  const kv::Engine& engine() const { return engine_; }

  static constexpr const char* kPrefix = "p/";

 private:
  const CatalogLimits limits_;
  runtime::ManualExecutor executor_;
  kv::MemoryEngine engine_{std::make_shared<kv::MemoryStore>(), executor_};
  std::unique_ptr<Catalog> catalog_;
  Revision applied_;
  Term term_{7};
};

}  // namespace tenure::catalog
