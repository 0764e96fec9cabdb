#include "controller/catalog_access.h"

#include <utility>

#include "catalog/refusal.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;
using catalog::MakeRefusal;
using group::ProposeOutcome;

void CatalogAccess::Propose(ipb::CatalogCommand command, ProposeDone done) {
  const catalog::CommandType* type = catalog::TypeOf(command);
  command.set_version(catalog::FormatOf(command));
  if (command.version() > catalog().format_version()) {
    done(catalog::Refuse(
        pb::REASON_UNSUPPORTED_FORMAT,
        "{} needs format {}, the cluster has format {}; `tenure upgrade finalize` raises it when all "
        "members run a program that reads it",
        type->name, command.version(), catalog().format_version()));
    return;
  }
  command.set_now_ms(ToMillis(executor_.WallNow()));
  if (const Status valid = catalog::Catalog::Validate(command, limits_); !valid.ok()) {
    done(valid);
    return;
  }
  group_.Propose(command.SerializeAsString(), [this, done = std::move(done)](ProposeOutcome outcome) mutable {
    done(Interpret(std::move(outcome)));
  });
}

void CatalogAccess::ProposeInEpoch(ipb::CatalogCommand command, Term epoch, ProposeDone done) {
  if (epoch.IsNone() || epoch != leadership_.epoch()) {
    done(MakeRefusal(pb::REASON_STALE_EPOCH, "the leadership in which this was decided has ended"));
    return;
  }
  command.set_epoch(epoch.value());
  Propose(std::move(command), std::move(done));
}

runtime::Task<StatusOr<ipb::CatalogResult>> CatalogAccess::ProposeAndWait(ipb::CatalogCommand command,
                                                                          Term epoch,
                                                                          runtime::StopToken stop) {
  auto start = [this, epoch, command = std::move(command)](ProposeDone done) mutable {
    ProposeInEpoch(std::move(command), epoch, std::move(done));
  };
  co_return co_await runtime::AsyncUntil<StatusOr<ipb::CatalogResult>>(executor_, stop, std::move(start));
}

StatusOr<ipb::CatalogResult> CatalogAccess::Interpret(ProposeOutcome outcome) const {
  switch (outcome.kind) {
    case ProposeOutcome::Kind::kApplied:
      break;
    case ProposeOutcome::Kind::kNotLeader:
      return leadership_.NotLeader();
    case ProposeOutcome::Kind::kTransferring:
      return MakeRefusal(pb::REASON_UNAVAILABLE, "leadership is being handed over");
    case ProposeOutcome::Kind::kOverloaded:
      return MakeRefusal(pb::REASON_OVERLOADED, "too many changes are under way");
    case ProposeOutcome::Kind::kOutOfSpace:
      return MakeRefusal(pb::REASON_OUT_OF_SPACE, "the leader's disk has no space left above its reserve");
    case ProposeOutcome::Kind::kUnknown:
      return MakeRefusal(pb::REASON_UNKNOWN_OUTCOME,
                         "leadership was lost while the change was under way: it may or may not be done");
  }
  ipb::CatalogResult result;
  if (!result.ParseFromString(outcome.result)) {
    return MakeRefusal(pb::REASON_UNKNOWN_OUTCOME, "the change's result cannot be decoded");
  }
  if (result.reason() == pb::REASON_UNSPECIFIED) return result;
  pb::Refusal refusal;
  refusal.set_reason(result.reason());
  refusal.set_message(std::move(*result.mutable_message()));
  refusal.set_revision(result.revision());
  return MakeRefusal(std::move(refusal));
}

void CatalogAccess::Read(const pb::ReadOptions& options, Callback<StatusOr<CatalogView>> done) {
  if (machine_.state() == nullptr) {
    done(MakeRefusal(pb::REASON_UNAVAILABLE, "this controller is starting"));
    return;
  }
#ifdef TENURE_MUTANT_read_without_confirm
  (void)options;
  done(CatalogView{catalog(), *machine_.state(), applied()});
#else
  if (options.stale()) {
    if (!group_.HasWholeState()) {
      done(MakeRefusal(pb::REASON_UNAVAILABLE, "this controller is installing a snapshot of the catalog"));
      return;
    }
    const auto staleness = group_.Staleness();
    done(CatalogView{catalog(), *machine_.state(), applied(), staleness ? ToMillis(*staleness) : -1});
    return;
  }
  if (const Status leading = leadership_.CheckLeading(); !leading.ok()) {
    done(leading);
    return;
  }
  group_.Read([this, done = std::move(done)](Status confirmed) mutable {
    if (confirmed.ok()) {
      done(CatalogView{catalog(), *machine_.state(), applied()});
    } else {
      const Status leading = leadership_.CheckLeading();
      done(!leading.ok() ? leading : MakeRefusal(pb::REASON_UNAVAILABLE, std::string(MessageOf(confirmed))));
    }
  });
#endif
}

}  // namespace tenure::controller
