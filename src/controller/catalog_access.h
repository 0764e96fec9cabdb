// How services reach the catalog: proposals with their outcome as a status, confirmed reads, memory-resident
// records.
//
// Threading: the controller's executor.
// Errors:    every error is a refusal (catalog/refusal.h): refused means nothing happened, UNKNOWN_OUTCOME
//            that it may have. kApplied with a reason in the result is a refusal too.
#pragma once

#include <cstdint>

#include "base/function.h"
#include "base/ids.h"
#include "base/status.h"
#include "catalog/catalog.h"
#include "controller/catalog_group.h"
#include "controller/catalog_machine.h"
#include "controller/leadership/leadership.h"
#include "runtime/executor.h"

namespace tenure::controller {

// What a read may look at, within its callback.
struct CatalogView {
  const catalog::Catalog& catalog;
  const kv::Reader& entries;
  Revision revision;
  int64_t age_ms = 0;  // stale reads: since this controller knew all that was committed; -1: not known
};

class CatalogAccess {
 public:
  using ProposeDone = Callback<StatusOr<::tenure::internal::v1::CatalogResult>>;

  // All must outlive this.
  CatalogAccess(runtime::Executor& executor, CatalogGroup& group, const CatalogMachine& machine,
                const Leadership& leadership, const catalog::CatalogLimits& limits)
      : executor_(executor), group_(group), machine_(machine), leadership_(leadership), limits_(limits) {}

  // Stamps version and time, validates, proposes. `done` may run inside the call when it is refused.
  void Propose(::tenure::internal::v1::CatalogCommand command, ProposeDone done);
  // For a leader service or a choice made by the leader: fenced with `epoch`.
  void ProposeInEpoch(::tenure::internal::v1::CatalogCommand command, Term epoch, ProposeDone done);
  // As Propose, awaited; CANCELLED if `stop` comes first.
  runtime::Task<StatusOr<::tenure::internal::v1::CatalogResult>> ProposeAndWait(
      ::tenure::internal::v1::CatalogCommand command, Term epoch, runtime::StopToken stop);

  // Linearizable unless the options say stale.
  void Read(const ::tenure::v1::ReadOptions& options, Callback<StatusOr<CatalogView>> done);

  const catalog::Catalog& catalog() const { return machine_.catalog(); }
  Revision applied() const { return machine_.applied(); }
  CatalogGroup& group() const { return group_; }
  const Leadership& leadership() const { return leadership_; }
  const catalog::CatalogLimits& limits() const { return limits_; }

 private:
  StatusOr<::tenure::internal::v1::CatalogResult> Interpret(group::ProposeOutcome outcome) const;

  runtime::Executor& executor_;
  CatalogGroup& group_;
  const CatalogMachine& machine_;
  const Leadership& leadership_;
  const catalog::CatalogLimits limits_;
};

}  // namespace tenure::controller
