#include "controller/api/range_api.h"

#include <utility>

#include "base/format.h"
#include "base/hash.h"
#include "catalog/refusal.h"
#include "catalog/state_moves.h"
#include "controller/placement/cluster_view.h"
#include "controller/procedure/types/move_slots.h"

namespace tenure::controller {

namespace pb = ::tenure::v1;
namespace ipb = ::tenure::internal::v1;
using catalog::Refuse;

StatusOr<const pb::RegionRecord*> RangeApi::FindRegion(std::string_view field, uint64_t id) const {
  const auto found = access_.catalog().regions().find(id);
  if (found == access_.catalog().regions().end())
    return Refuse(pb::REASON_NOT_FOUND, "{}: there is no region {}", field, id);
  const pb::RegionRecord& region = found->second.region();
  if (region.state() == pb::REGION_REMOVING || region.state() == pb::REGION_CREATING)
    return Refuse(pb::REASON_CONDITION_FAILED, "{}: region {} is {}", field, id,
                  catalog::NameOf(region.state()));
  if (const uint64_t other = ChangeUnderWay(access_.catalog(), RegionId(id)); other != 0)
    return Refuse(pb::REASON_BUSY, "{}: region {} is being changed by procedure {}", field, id, other);
  if (const uint64_t other = MoveSlots::DroppingIn(access_.catalog(), id); other != 0) {
    return Refuse(pb::REASON_BUSY, "{}: procedure {} still deletes the keys that region {} has given away",
                  field, other, id);
  }
  return &region;
}

template <class Response>
bool RangeApi::AnswerAgain(const pb::RequestId& id, Response& response, Answer<Response>& done) const {
  const auto known = access_.catalog().FindAnswer(id);
  if (!known || known->reason() != pb::REASON_UNSPECIFIED) return false;
  response.set_revision(known->revision());
  const auto procedure = access_.catalog().procedures().find(known->object_id());
  if (procedure != access_.catalog().procedures().end()) *response.mutable_procedure() = procedure->second;
  done(std::move(response));
  return true;
}

template <class Response>
void RangeApi::Submit(const pb::RequestId& id, pb::ProcedureRecord procedure, Response response,
                      Answer<Response> done) {
  ipb::CatalogCommand command;
  if (id.client_id() != 0) *command.mutable_id() = id;
  *command.mutable_submit_procedure()->mutable_procedure() = std::move(procedure);
  access_.ProposeInEpoch(std::move(command), leadership_.epoch(),
                         [this, response = std::move(response),
                          done = std::move(done)](StatusOr<ipb::CatalogResult> result) mutable {
                           if (!result.ok()) return done(result.status());
                           response.set_revision(result->revision());
                           const auto record = access_.catalog().procedures().find(result->object_id());
                           if (record != access_.catalog().procedures().end())
                             *response.mutable_procedure() = record->second;
                           done(std::move(response));
                         });
}

void RangeApi::Split(const pb::SplitRegionRequest& request, Answer<pb::SplitRegionResponse> done) {
  if (const Status ready = leadership_.CheckLoadReady(); !ready.ok()) return done(ready);
  pb::SplitRegionResponse response;
  response.set_at_slot(request.at_slot());
  if (AnswerAgain(request.id(), response, done)) return;
  const auto region = FindRegion("region", request.region());
  if (!region.ok()) return done(region.status());
  const uint32_t first = (*region)->slots().first();
  const uint32_t last = (*region)->slots().last();
  if (first == last) {
    return done(Refuse(pb::REASON_CONDITION_FAILED, "region: region {} has one slot, {}: it cannot be split",
                       request.region(), first));
  }
  if (request.at_slot() == 0) response.set_at_slot(first + (last - first + 1) / 2);
  if (response.at_slot() <= first || response.at_slot() > last) {
    return done(Refuse(pb::REASON_INVALID_ARGUMENT,
                       "at_slot: {} is not in {}..{}: region {} has slots {}-{}, and both parts need one",
                       response.at_slot(), first + 1, last, request.region(), first, last));
  }
  if (request.dry_run()) {
    response.set_revision(access_.applied().value());
    return done(std::move(response));
  }
  pb::ProcedureRecord procedure = MoveSlots::NewSplit(**region, response.at_slot());
  Submit(request.id(), std::move(procedure), std::move(response), std::move(done));
}

void RangeApi::Merge(const pb::MergeRegionsRequest& request, Answer<pb::MergeRegionsResponse> done) {
  if (const Status ready = leadership_.CheckLoadReady(); !ready.ok()) return done(ready);
  pb::MergeRegionsResponse response;
  if (AnswerAgain(request.id(), response, done)) return;
  const auto region = FindRegion("region", request.region());
  if (!region.ok()) return done(region.status());
  const auto with = FindRegion("with", request.with());
  if (!with.ok()) return done(with.status());
  const pb::SlotRange& slots = (*region)->slots();
  const pb::SlotRange& others = (*with)->slots();
  if ((*region)->database() != (*with)->database() ||
      (slots.last() + 1 != others.first() && others.last() + 1 != slots.first())) {
    return done(Refuse(
        pb::REASON_INVALID_ARGUMENT,
        "with: region {} (slots {}-{} of database {}) is not beside region {} (slots {}-{} of database {})",
        request.with(), others.first(), others.last(), (*with)->database(), request.region(), slots.first(),
        slots.last(), (*region)->database()));
  }
  if (request.dry_run()) {
    response.set_revision(access_.applied().value());
    return done(std::move(response));
  }
  pb::ProcedureRecord procedure = MoveSlots::NewMerge(**region, **with);
  Submit(request.id(), std::move(procedure), std::move(response), std::move(done));
}

}  // namespace tenure::controller
