// The catalog as the state machine of group 0, and the place where its changes are heard of.
//
// Owned by Controller; the group owns only the adapter, which ends with the group.
// Threading: the controller's executor.
// Ordering:  listeners hear of changes after the batch is in the engine and before its proposers are
//            answered, in log order. They run within the group's turn and do not call the group: they note
//            and post.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/log.h"
#include "catalog/catalog.h"
#include "group/state_machine.h"

namespace tenure::controller {

class CatalogListener {
 public:
  virtual ~CatalogListener() = default;
  // A batch was written; `events` are those of records.
  virtual void OnCatalogChanged(const std::vector<::tenure::v1::Event>& events, Revision applied) = 0;
  // The state was replaced as a whole (start, snapshot): what was known of its history is void.
  virtual void OnCatalogReset(Revision applied) = 0;
};

class CatalogMachine {
 public:
  CatalogMachine(const catalog::CatalogLimits& limits, Logger logger);
  ~CatalogMachine();
  CatalogMachine(const CatalogMachine&) = delete;
  CatalogMachine& operator=(const CatalogMachine&) = delete;

  // For GroupHost::Start; once. This must outlive it.
  std::unique_ptr<group::StateMachine> MakeAdapter();
  // Before the group starts.
  void AddListener(CatalogListener& listener) { listeners_.push_back(&listener); }
  // Takes the events of every batch after the listeners saw them; at most one, may be null.
  void SetEventSink(Callback<catalog::Events> sink) { sink_ = std::move(sink); }

  const catalog::Catalog& catalog() const { return catalog_; }
  // Entries. Null before the group has started and after it was destroyed here.
  const kv::Reader* state() const { return state_; }
  // Everything up to here is applied and visible.
  Revision applied() const { return applied_; }

 private:
  class Adapter;

  void OnReset(const kv::Reader& state, LogIndex applied);
  void OnPrepare(std::span<const std::string_view> commands, const kv::Reader& state);
  // The next of those that were prepared.
  std::string OnApply(const group::ApplyContext& context, kv::View& state);
  void OnBatchWritten(LogIndex applied);
  void LogNotes();

  Logger logger_;
  catalog::Catalog catalog_;
  const kv::Reader* state_ = nullptr;
  Revision applied_;
  // What OnApply will be called with, the next one last; none if it cannot be decoded.
  std::vector<std::optional<::tenure::internal::v1::CatalogCommand>> prepared_;
  std::vector<CatalogListener*> listeners_;
  Callback<catalog::Events> sink_;
};

}  // namespace tenure::controller
