// What operators ask for about regions' slots: splitting a region, merging it into the one beside it. Checks
// the wish and submits a procedure.
//
// Threading: the controller's executor.
// Errors:    refusals name the region, the slot and why; with dry_run nothing is submitted.
#pragma once

#include "controller/api/call.h"
#include "controller/catalog_access.h"
#include "controller/leadership/leadership.h"
#include "tenure/v1/cluster.pb.h"

namespace tenure::controller {

class RangeApi {
 public:
  RangeApi(CatalogAccess& access, const Leadership& leadership) : access_(access), leadership_(leadership) {}

  void Split(const ::tenure::v1::SplitRegionRequest& request, Answer<::tenure::v1::SplitRegionResponse> done);
  void Merge(const ::tenure::v1::MergeRegionsRequest& request,
             Answer<::tenure::v1::MergeRegionsResponse> done);

 private:
  // A region that is there and that nothing is changing now; `field` is what a refusal names.
  StatusOr<const ::tenure::v1::RegionRecord*> FindRegion(std::string_view field, uint64_t id) const;
  // Whether the request was answered before: then `response` is that answer, or the refusal.
  template <class Response>
  bool AnswerAgain(const ::tenure::v1::RequestId& id, Response& response, Answer<Response>& done) const;
  template <class Response>
  void Submit(const ::tenure::v1::RequestId& id, ::tenure::v1::ProcedureRecord procedure, Response response,
              Answer<Response> done);

  CatalogAccess& access_;
  const Leadership& leadership_;
};

}  // namespace tenure::controller
