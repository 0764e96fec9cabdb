#include "node/catalog_view.h"

#include <algorithm>

#include "base/check.h"
#include "base/codec.h"
#include "base/format.h"
#include "base/hash.h"

namespace tenure::node {
namespace {

// Encoded form: magic, XXH3-64 of the rest, three revisions, newest revision, a serialized pb::ListResponse.
constexpr std::string_view kMagic = "TNRVIEW1";

pb::RecordKind KindOf(const pb::Record& record) {
  switch (record.body_case()) {
    case pb::Record::kNode:
      return pb::RECORD_NODE;
    case pb::Record::kDatabase:
      return pb::RECORD_DATABASE;
    case pb::Record::kRegion:
      return pb::RECORD_REGION;
    default:
      return pb::RECORD_KIND_UNSPECIFIED;
  }
}

template <class Records>
auto Find(const Records& records, uint64_t id) -> decltype(&records.begin()->second) {
  const auto it = records.find(id);
  return it == records.end() ? nullptr : &it->second;
}

}  // namespace

Revision CatalogView::revision() const {
  return std::min({node_revision_, database_revision_, region_revision_});
}
Revision CatalogView::newest() const {
  return newest_;
}

const pb::NodeRecord* CatalogView::FindNode(NodeId id) const {
  return Find(nodes_, id.value());
}
const pb::RegionRecord* CatalogView::FindRegion(RegionId id) const {
  return Find(regions_, id.value());
}

const pb::NodeRecord* CatalogView::FindNode(std::string_view uuid) const {
  for (const auto& [id, node] : nodes_) {
    if (node.uuid() == uuid) return &node;
  }
  return nullptr;
}

Revision& CatalogView::RevisionOf(pb::RecordKind kind) {
  switch (kind) {
    case pb::RECORD_NODE:
      return node_revision_;
    case pb::RECORD_DATABASE:
      return database_revision_;
    default:
      TENURE_CHECK(kind == pb::RECORD_REGION, "kind {} is not kept", static_cast<int>(kind));
      return region_revision_;
  }
}

void CatalogView::Put(const pb::Record& record) {
  switch (record.body_case()) {
    case pb::Record::kNode:
      nodes_[record.node().id()] = record.node();
      break;
    case pb::Record::kDatabase:
      databases_[record.database().id()] = record.database();
      break;
    case pb::Record::kRegion:
      regions_[record.region().id()] = record.region();
      break;
    default:
      break;
  }
}

void CatalogView::Clear(pb::RecordKind kind) {
  if (kind == pb::RECORD_NODE) nodes_.clear();
  if (kind == pb::RECORD_DATABASE) databases_.clear();
  if (kind == pb::RECORD_REGION) regions_.clear();
}

Status CatalogView::Replace(pb::RecordKind kind, const std::vector<pb::Record>& records, Revision revision) {
  // Against the newest thing ever seen, not against the kind's own: a catalog that went back (restored from
  // an old copy) must not pass for the present one in a part of it.
  if (revision < newest_) {
    return Error(StatusCode::kOutOfRange,
                 "the catalog listed at revision {} is older than revision {} seen before", revision,
                 newest_);
  }
  Clear(kind);
  for (const pb::Record& record : records) {
    if (KindOf(record) == kind) Put(record);
  }
  RevisionOf(kind) = revision;
  newest_ = std::max(newest_, revision);
  return OkStatus();
}

void CatalogView::ForgetRevisions() {
  node_revision_ = database_revision_ = region_revision_ = newest_ = Revision();
}

bool CatalogView::Apply(const pb::Event& event) {
  const pb::Record& record = event.has_new_record() ? event.new_record() : event.old_record();
  const pb::RecordKind kind = KindOf(record);
  if (kind == pb::RECORD_KIND_UNSPECIFIED || Revision(event.revision()) <= RevisionOf(kind)) return false;
  newest_ = std::max(newest_, Revision(event.revision()));
  if (event.has_new_record()) {
    Put(event.new_record());
    return true;
  }
  if (record.has_node()) nodes_.erase(record.node().id());
  if (record.has_database()) databases_.erase(record.database().id());
  if (record.has_region()) regions_.erase(record.region().id());
  return true;
}

void CatalogView::AdvanceTo(Revision revision) {
  for (const pb::RecordKind kind : kKeptKinds) RevisionOf(kind) = std::max(RevisionOf(kind), revision);
  newest_ = std::max(newest_, revision);
}

std::string CatalogView::Encode() const {
  pb::ListResponse list;
  for (const auto& [id, node] : nodes_) *list.add_records()->mutable_node() = node;
  for (const auto& [id, database] : databases_) *list.add_records()->mutable_database() = database;
  for (const auto& [id, region] : regions_) *list.add_records()->mutable_region() = region;
  std::string body;
  PutFixed64(body, node_revision_.value());
  PutFixed64(body, database_revision_.value());
  PutFixed64(body, region_revision_.value());
  PutFixed64(body, newest_.value());
  body += list.SerializeAsString();
  std::string out(kMagic);
  PutFixed64(out, HashBytes(body));
  return out + body;
}

StatusOr<CatalogView> CatalogView::Decode(std::string_view bytes) {
  ByteReader in(bytes);
  if (in.Raw(kMagic.size()) != kMagic)
    return Error(StatusCode::kDataLoss, "not a catalog view of a known format");
  const uint64_t checksum = in.Fixed64();
  if (!in.ok() || HashBytes(in.rest()) != checksum) {
    return Error(StatusCode::kDataLoss, "the catalog view fails its checksum");
  }
  CatalogView view;
  view.node_revision_ = Revision(in.Fixed64());
  view.database_revision_ = Revision(in.Fixed64());
  view.region_revision_ = Revision(in.Fixed64());
  view.newest_ = Revision(in.Fixed64());
  pb::ListResponse list;
  if (!in.ok() || !list.ParseFromArray(in.rest().data(), static_cast<int>(in.rest().size()))) {
    return Error(StatusCode::kDataLoss, "the catalog view's records cannot be read");
  }
  for (const pb::Record& record : list.records()) view.Put(record);
  return view;
}

}  // namespace tenure::node
