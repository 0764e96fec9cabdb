#include "wal/format.h"

#include "base/check.h"
#include "base/hash.h"

namespace tenure::wal {
namespace {

constexpr std::string_view kSegmentMagic = "TENUREWL";
constexpr uint32_t kCommitMagic = 0x314d4354;  // "TCM1"
constexpr std::string_view kSegmentSuffix = ".wal";
constexpr size_t kNameDigits = 16;

// A checksum holds only at the place it was made for: misdirected reads and copies of log data inside
// payloads fail.
uint64_t PlaceSeed(uint64_t segment, uint64_t offset) {
  return segment * 0x9e3779b97f4a7c15ULL ^ offset;
}

bool AllZero(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
}

void StoreFixed32(char* at, uint32_t value) {
  std::memcpy(at, &value, sizeof value);
}
void StoreFixed64(char* at, uint64_t value) {
  std::memcpy(at, &value, sizeof value);
}

// Bytes 13-15 of a record's header: 24 bits over the others that say what the record is. Never zero, which is
// what stands there in logs written before there was a check.
constexpr size_t kHeaderCheckAt = 13;
constexpr uint32_t kHeaderCheckMask = 0xffffff;

uint32_t HeaderCheckOf(std::string_view header, uint64_t segment, uint64_t offset) {
  char covered[kRecordHeaderBytes - 8];
  std::memcpy(covered, header.data() + 8, sizeof covered);
  std::memset(covered + kHeaderCheckAt - 8, 0, 3);
  const uint64_t hash = HashBytes({covered, sizeof covered}, PlaceSeed(segment, offset));
  return std::max<uint32_t>(static_cast<uint32_t>(hash) & kHeaderCheckMask, 1);
}
uint32_t LoadHeaderCheck(const char* header) {
  uint32_t check = 0;
  std::memcpy(&check, header + kHeaderCheckAt, 3);
  return check;
}
void StoreHeaderCheck(char* header, uint32_t check) {
  std::memcpy(header + kHeaderCheckAt, &check, 3);
}

}  // namespace

std::string SegmentName(uint64_t number) {
  return fmt::format("{:016}{}", number, kSegmentSuffix);
}

std::optional<uint64_t> ParseSegmentName(std::string_view name) {
  if (name.size() != kNameDigits + kSegmentSuffix.size() || !name.ends_with(kSegmentSuffix))
    return std::nullopt;
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + kNameDigits, number);
  if (error != std::errc() || end != name.data() + kNameDigits || number == 0) return std::nullopt;
  return number;
}

void EncodeSegmentHeader(const SegmentHeader& header, std::string& out) {
  const size_t begin = out.size();
  out.append(kSegmentMagic);
  PutFixed32(out, header.version);
  PutFixed32(out, static_cast<uint32_t>(kSegmentHeaderBytes));
  PutFixed64(out, header.log_id);
  PutFixed64(out, header.number);
  PutFixed64(out, header.size);
  PutFixed64(out, header.first_sequence);
  PutFixed64(out, header.previous);
  out.resize(begin + kSegmentHeaderBytes - 8, '\0');
  PutFixed64(out, HashBytes(std::string_view(out).substr(begin), header.number));
}

HeaderState DecodeSegmentHeader(std::string_view bytes, SegmentHeader* header) {
  if (bytes.size() < kSegmentHeaderBytes) return HeaderState::kBad;
  bytes = bytes.substr(0, kSegmentHeaderBytes);
  if (AllZero(bytes)) return HeaderState::kZero;
  if (!bytes.starts_with(kSegmentMagic)) return HeaderState::kBad;
  const char* at = bytes.data();
  header->version = GetFixed32(at + 8);
  header->log_id = GetFixed64(at + 16);
  header->number = GetFixed64(at + 24);
  header->size = GetFixed64(at + 32);
  header->first_sequence = GetFixed64(at + 40);
  header->previous = GetFixed64(at + 48);
  // Every version keeps its checksum at the end of the first sector, so a flipped version is not a newer one.
  const uint64_t checksum = GetFixed64(at + kSegmentHeaderBytes - 8);
  if (HashBytes(bytes.substr(0, kSegmentHeaderBytes - 8), header->number) != checksum)
    return HeaderState::kBad;
  if (header->version > kFormatVersion) return HeaderState::kNewerFormat;
  return HeaderState::kValid;
}

std::optional<CommitHeader> DecodeCommitHeader(std::string_view bytes, uint64_t segment, uint64_t offset,
                                               uint64_t room) {
  if (bytes.size() < kCommitHeaderBytes) return std::nullopt;
  const char* at = bytes.data();
  if (GetFixed32(at + 8) != kCommitMagic) return std::nullopt;
  if (HashBytes(bytes.substr(8, 48), PlaceSeed(segment, offset)) != GetFixed64(at + 56)) return std::nullopt;
  CommitHeader header;
  header.checksum = GetFixed64(at);
  header.size = GetFixed32(at + 12);
  header.sequence = GetFixed64(at + 16);
  header.previous = GetFixed64(at + 24);
  header.log_id = GetFixed64(at + 32);
  header.used = GetFixed32(at + 40);
  header.flags = GetFixed32(at + 44);
  header.zero_sectors = GetFixed32(at + 48);
  if (header.size == 0 || header.size % kSectorBytes != 0 || header.size > room) return std::nullopt;
  if (header.used <= kCommitHeaderBytes || header.used > header.size) return std::nullopt;
  return header;
}

uint32_t CountZeroSectors(std::string_view bytes) {
  uint32_t count = 0;
  for (size_t at = 0; at < bytes.size(); at += kSectorBytes)
    count += AllZero(bytes.substr(at, kSectorBytes)) ? 1 : 0;
  return count;
}

bool CommitChecksumHolds(const CommitHeader& header, std::string_view bytes, uint64_t segment,
                         uint64_t offset) {
  return HashBytes(bytes.substr(8, header.size - 8), PlaceSeed(segment, offset)) == header.checksum;
}

RecordReader::RecordReader(std::string_view commit, const CommitHeader& header, uint64_t segment,
                           uint64_t offset)
    : commit_(commit), used_(header.used - 1), segment_(segment), offset_(offset) {}

RecordReader::Step RecordReader::Next(Record* record) {
  if (at_ == used_) return Step::kEnd;
  if (at_ + kRecordHeaderBytes > used_) return Step::kLost;
  const uint64_t bytes = PeekRecordBytes(commit_.substr(at_));
  if (at_ + bytes > used_) return Step::kLost;
  const std::string_view whole = commit_.substr(at_, bytes);
  const auto decoded = DecodeRecord(whole, segment_, offset_ + at_);
  if (decoded) {
    *record = *decoded;
  } else {
    *record = Record{static_cast<RecordType>(whole[12]), GroupId(GetFixed64(whole.data() + 16)),
                     whole.substr(kRecordHeaderBytes), offset_ + at_};
  }
  at_ += bytes;
  if (decoded) return Step::kRecord;
  return RecordHeaderHolds(whole, segment_, record->offset) ? Step::kBad : Step::kUnsure;
}

bool RecordHeaderHolds(std::string_view header, uint64_t segment, uint64_t offset) {
  if (header.size() < kRecordHeaderBytes) return false;
  return LoadHeaderCheck(header.data()) == HeaderCheckOf(header, segment, offset);
}

uint64_t PeekRecordBytes(std::string_view bytes) {
  return kRecordHeaderBytes + GetFixed32(bytes.data() + 8);
}

std::optional<Record> DecodeRecord(std::string_view bytes, uint64_t segment, uint64_t offset) {
  if (bytes.size() < kRecordHeaderBytes) return std::nullopt;
  const uint64_t size = PeekRecordBytes(bytes);
  if (size > bytes.size()) return std::nullopt;
  if (HashBytes(bytes.substr(8, size - 8), PlaceSeed(segment, offset)) != GetFixed64(bytes.data()))
    return std::nullopt;
  return Record{static_cast<RecordType>(bytes[12]), GroupId(GetFixed64(bytes.data() + 16)),
                bytes.substr(kRecordHeaderBytes, size - kRecordHeaderBytes), offset};
}

bool DecodeGroupCheckpoint(std::string_view payload, GroupCheckpoint* checkpoint) {
  ByteReader reader(payload);
  checkpoint->hard_state.term = Term(reader.Varint());
  checkpoint->hard_state.vote = ReplicaId(reader.Varint());
  checkpoint->hard_state.commit = LogIndex(reader.Varint());
  checkpoint->mark_index = LogIndex(reader.Varint());
  checkpoint->mark_term = Term(reader.Varint());
  checkpoint->mark_configuration = std::string(reader.Prefixed());
  checkpoint->last_index = LogIndex(reader.Varint());
  const uint64_t runs = reader.Varint();
  checkpoint->terms.clear();
  for (uint64_t i = 0; i < runs && reader.ok(); ++i) {
    const LogIndex first(reader.Varint());
    checkpoint->terms.push_back({first, Term(reader.Varint())});
  }
  checkpoint->replica = reader.ok() && !reader.AtEnd() ? ReplicaId(reader.Varint()) : ReplicaId();
  if (!reader.AtEnd() || checkpoint->last_index < checkpoint->mark_index) return false;
  if (checkpoint->last_index.value() - checkpoint->mark_index.value() > (uint64_t{1} << 40)) return false;
  if (checkpoint->last_index == checkpoint->mark_index) return checkpoint->terms.empty();
  return !checkpoint->terms.empty() && checkpoint->terms.front().first == checkpoint->mark_index.Next();
}

void EncodeGroupCheckpoint(const GroupCheckpoint& checkpoint, std::string& out) {
  EncodeHardState(checkpoint.hard_state, out);
  EncodeMark(checkpoint.mark_index, checkpoint.mark_term, checkpoint.mark_configuration, out);
  PutVarint(out, checkpoint.last_index.value());
  PutVarint(out, checkpoint.terms.size());
  for (const auto& run : checkpoint.terms) {
    PutVarint(out, run.first.value());
    PutVarint(out, run.term.value());
  }
  if (!checkpoint.replica.IsNone()) PutVarint(out, checkpoint.replica.value());
}

bool DecodeReplica(std::string_view payload, ReplicaPayload* replica) {
  ByteReader reader(payload);
  replica->replica = ReplicaId(reader.Varint());
  replica->begins_after.reset();
  if (!reader.ok() || replica->replica.IsNone()) return false;
  return reader.AtEnd() || DecodeMark(reader.rest(), &replica->begins_after.emplace());
}

bool DecodeMark(std::string_view payload, MarkPayload* mark) {
  ByteReader reader(payload);
  mark->index = LogIndex(reader.Varint());
  mark->term = Term(reader.Varint());
  mark->configuration = reader.Prefixed();
  return reader.AtEnd();
}

void EncodeMark(LogIndex index, Term term, std::string_view configuration, std::string& out) {
  PutVarint(out, index.value());
  PutVarint(out, term.value());
  PutPrefixed(out, configuration);
}

bool DecodeHardState(std::string_view payload, raft::HardState* hard_state) {
  ByteReader reader(payload);
  hard_state->term = Term(reader.Varint());
  hard_state->vote = ReplicaId(reader.Varint());
  hard_state->commit = LogIndex(reader.Varint());
  return reader.AtEnd();
}

void EncodeHardState(const raft::HardState& hard_state, std::string& out) {
  PutVarint(out, hard_state.term.value());
  PutVarint(out, hard_state.vote.value());
  PutVarint(out, hard_state.commit.value());
}

void CommitBuilder::Begin(uint64_t segment, uint64_t offset, const SegmentHeader* header) {
  buffer_.clear();
  if (header != nullptr) EncodeSegmentHeader(*header, buffer_);
  commit_ = buffer_.size();
  segment_ = segment;
  offset_ = offset;
  buffer_.append(kCommitHeaderBytes, '\0');
}

uint64_t CommitBuilder::BeginRecord(RecordType type, GroupId group) {
  record_ = buffer_.size();
  char header[kRecordHeaderBytes] = {};
  header[12] = static_cast<char>(type);
  StoreFixed64(header + 16, group.value());
  buffer_.append(header, sizeof header);
  return offset_ + (record_ - commit_);
}

void CommitBuilder::EndRecord() {
  char* record = buffer_.data() + record_;
  const size_t bytes = buffer_.size() - record_;
  StoreFixed32(record + 8, static_cast<uint32_t>(bytes - kRecordHeaderBytes));
  StoreHeaderCheck(record,
                   HeaderCheckOf({record, kRecordHeaderBytes}, segment_, offset_ + (record_ - commit_)));
  const std::string_view covered(record + 8, bytes - 8);
  StoreFixed64(record, HashBytes(covered, PlaceSeed(segment_, offset_ + (record_ - commit_))));
}

CommitHeader CommitBuilder::Finish(uint64_t sequence, uint64_t previous, uint64_t log_id, uint32_t flags) {
  CommitHeader header;
  buffer_.push_back(kEndMark);
  const uint64_t used = bytes();
  TENURE_CHECK(RoundUpToSector(used) <= std::numeric_limits<uint32_t>::max(), "a commit of {} bytes", used);
  buffer_.resize(commit_ + RoundUpToSector(used), '\0');
  header.size = static_cast<uint32_t>(RoundUpToSector(used));
  header.sequence = sequence;
  header.previous = previous;
  header.log_id = log_id;
  header.used = static_cast<uint32_t>(used);
  header.flags = flags;
  // The first sector holds the header.
  header.zero_sectors = CountZeroSectors(std::string_view(buffer_).substr(commit_ + kSectorBytes));
  char* at = buffer_.data() + commit_;
  StoreFixed32(at + 8, kCommitMagic);
  StoreFixed32(at + 12, header.size);
  StoreFixed64(at + 16, sequence);
  StoreFixed64(at + 24, previous);
  StoreFixed64(at + 32, log_id);
  StoreFixed32(at + 40, header.used);
  StoreFixed32(at + 44, flags);
  StoreFixed32(at + 48, header.zero_sectors);
  StoreFixed64(at + 56, HashBytes(std::string_view(at + 8, 48), PlaceSeed(segment_, offset_)));
  header.checksum = HashBytes(std::string_view(at + 8, header.size - 8), PlaceSeed(segment_, offset_));
  StoreFixed64(at, header.checksum);
  return header;
}

}  // namespace tenure::wal
