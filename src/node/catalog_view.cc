#include "node/catalog_view.h"

#include <algorithm>

#include "base/check.h"
#include "base/codec.h"
#include "base/format.h"
#include "base/hash.h"

namespace tenure::node {
namespace {

// Encoded form: magic, XXH3-64 of the rest, six revisions, newest revision, a serialized pb::ListResponse.
// Of the second version, from before there were changefeeds: five revisions; of the first, from before there
// were tables: three.
constexpr std::string_view kMagic = "TNRVIEW3";
constexpr std::string_view kMagicWithoutChangefeeds = "TNRVIEW2";
constexpr std::string_view kMagicWithoutTables = "TNRVIEW1";

pb::RecordKind KindOf(const pb::Record& record) {
  switch (record.body_case()) {
    case pb::Record::kNode:
      return pb::RECORD_NODE;
    case pb::Record::kDatabase:
      return pb::RECORD_DATABASE;
    case pb::Record::kRegion:
      return pb::RECORD_REGION;
    case pb::Record::kTable:
      return pb::RECORD_TABLE;
    case pb::Record::kView:
      return pb::RECORD_VIEW;
    case pb::Record::kChangefeed:
      return pb::RECORD_CHANGEFEED;
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
  return std::min({node_revision_, database_revision_, region_revision_, table_revision_, view_revision_,
                   changefeed_revision_});
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
    case pb::RECORD_TABLE:
      return table_revision_;
    case pb::RECORD_VIEW:
      return view_revision_;
    case pb::RECORD_CHANGEFEED:
      return changefeed_revision_;
    default:
      TENURE_CHECK(kind == pb::RECORD_REGION, "kind {} is not kept", static_cast<int>(kind));
      return region_revision_;
  }
}

void CatalogView::Put(const pb::Record& record) {
  NoteChange(KindOf(record));
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
    case pb::Record::kTable:
      if (const pb::TableRecord* before = FindTable(record.table().id())) Unindex(*before);
      Index(tables_[record.table().id()] = record.table());
      break;
    case pb::Record::kView:
      if (const pb::ViewRecord* before = FindView(record.view().id())) Unindex(*before);
      Index(views_[record.view().id()] = record.view());
      break;
    case pb::Record::kChangefeed:
      changefeeds_[record.changefeed().id()] = record.changefeed();
      break;
    default:
      break;
  }
}

void CatalogView::NoteChange(pb::RecordKind kind) {
  if (kind == pb::RECORD_DATABASE || kind == pb::RECORD_TABLE || kind == pb::RECORD_VIEW) ++schema_changes_;
}

void CatalogView::Clear(pb::RecordKind kind) {
  NoteChange(kind);
  if (kind == pb::RECORD_NODE) nodes_.clear();
  if (kind == pb::RECORD_DATABASE) databases_.clear();
  if (kind == pb::RECORD_REGION) regions_.clear();
  for (const auto& [id, table] : tables_) {
    if (kind == pb::RECORD_TABLE) Unindex(table);
  }
  for (const auto& [id, view] : views_) {
    if (kind == pb::RECORD_VIEW) Unindex(view);
  }
  if (kind == pb::RECORD_TABLE) tables_.clear();
  if (kind == pb::RECORD_VIEW) views_.clear();
  if (kind == pb::RECORD_CHANGEFEED) changefeeds_.clear();
}

template <class Object>
void CatalogView::Index(const Object& object) {
  // In the middle of a rename somebody else may have the name still, in a view that is not complete.
  if (object.has_next()) names_.try_emplace({object.database(), object.next().name()}, object.id());
  names_[{object.database(), object.shape().name()}] = object.id();
}

template <class Object>
void CatalogView::Unindex(const Object& object) {
  for (const std::string& name : {object.shape().name(), object.next().name()}) {
    const auto it = names_.find({object.database(), name});
    if (it != names_.end() && it->second == object.id()) names_.erase(it);
  }
}

uint64_t CatalogView::FindSchemaName(uint64_t database, std::string_view name) const {
  const auto it = names_.find({database, std::string(name)});
  return it == names_.end() ? 0 : it->second;
}
const pb::TableRecord* CatalogView::FindTable(uint64_t id) const {
  return Find(tables_, id);
}
const pb::ViewRecord* CatalogView::FindView(uint64_t id) const {
  return Find(views_, id);
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
  node_revision_ = database_revision_ = region_revision_ = table_revision_ = view_revision_ =
      changefeed_revision_ = newest_ = Revision();
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
  NoteChange(kind);
  if (record.has_node()) nodes_.erase(record.node().id());
  if (record.has_database()) databases_.erase(record.database().id());
  if (record.has_region()) regions_.erase(record.region().id());
  if (record.has_changefeed()) changefeeds_.erase(record.changefeed().id());
  if (const pb::TableRecord* table = FindTable(record.table().id()); record.has_table() && table != nullptr) {
    Unindex(*table);
    tables_.erase(record.table().id());
  }
  if (const pb::ViewRecord* view_of = FindView(record.view().id()); record.has_view() && view_of != nullptr) {
    Unindex(*view_of);
    views_.erase(record.view().id());
  }
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
  for (const auto& [id, table] : tables_) *list.add_records()->mutable_table() = table;
  for (const auto& [id, view] : views_) *list.add_records()->mutable_view() = view;
  for (const auto& [id, feed] : changefeeds_) *list.add_records()->mutable_changefeed() = feed;
  std::string body;
  PutFixed64(body, node_revision_.value());
  PutFixed64(body, database_revision_.value());
  PutFixed64(body, region_revision_.value());
  PutFixed64(body, table_revision_.value());
  PutFixed64(body, view_revision_.value());
  PutFixed64(body, changefeed_revision_.value());
  PutFixed64(body, newest_.value());
  body += list.SerializeAsString();
  std::string out(kMagic);
  PutFixed64(out, HashBytes(body));
  return out + body;
}

StatusOr<CatalogView> CatalogView::Decode(std::string_view bytes) {
  ByteReader in(bytes);
  const std::string_view magic = in.Raw(kMagic.size());
  if (magic != kMagic && magic != kMagicWithoutChangefeeds && magic != kMagicWithoutTables)
    return Error(StatusCode::kDataLoss, "not a catalog view of a known format");
  const uint64_t checksum = in.Fixed64();
  if (!in.ok() || HashBytes(in.rest()) != checksum) {
    return Error(StatusCode::kDataLoss, "the catalog view fails its checksum");
  }
  CatalogView view;
  view.node_revision_ = Revision(in.Fixed64());
  view.database_revision_ = Revision(in.Fixed64());
  view.region_revision_ = Revision(in.Fixed64());
  if (magic != kMagicWithoutTables) {
    view.table_revision_ = Revision(in.Fixed64());
    view.view_revision_ = Revision(in.Fixed64());
  }
  if (magic == kMagic) view.changefeed_revision_ = Revision(in.Fixed64());
  view.newest_ = Revision(in.Fixed64());
  pb::ListResponse list;
  if (!in.ok() || !list.ParseFromArray(in.rest().data(), static_cast<int>(in.rest().size()))) {
    return Error(StatusCode::kDataLoss, "the catalog view's records cannot be read");
  }
  for (const pb::Record& record : list.records()) view.Put(record);
  return view;
}

}  // namespace tenure::node
