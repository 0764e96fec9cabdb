#include "recovery/intent.h"

#include <charconv>
#include <map>
#include <optional>

#include "base/format.h"

namespace tenure::recovery {
namespace {

using Fields = std::map<std::string, std::string, std::less<>>;

template <class Number>
std::optional<Number> Parse(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Fields Split(std::string_view line) {
  Fields fields;
  while (!line.empty()) {
    const size_t end = std::min(line.find(' '), line.size());
    const std::string_view field = line.substr(0, end);
    line.remove_prefix(std::min(end + 1, line.size()));
    const size_t equals = field.find('=');
    if (equals != std::string_view::npos) {
      fields[std::string(field.substr(0, equals))] = std::string(field.substr(equals + 1));
    }
  }
  return fields;
}

Status Bad(std::string_view key) {
  return Error(StatusCode::kDataLoss, "identity: a recovery without a readable `{}`", key);
}

template <class Number>
Status Take(const Fields& fields, std::string_view key, Number* number) {
  const auto it = fields.find(key);
  const auto parsed = it == fields.end() ? std::nullopt : Parse<Number>(it->second);
  if (!parsed) return Bad(key);
  *number = *parsed;
  return OkStatus();
}

Status Take(const Fields& fields, std::string_view key, std::vector<uint64_t>* ids) {
  const auto it = fields.find(key);
  if (it == fields.end()) return Bad(key);
  for (std::string_view rest = it->second; !rest.empty();) {
    const size_t end = std::min(rest.find(','), rest.size());
    const auto id = Parse<uint64_t>(rest.substr(0, end));
    if (!id) return Bad(key);
    ids->push_back(*id);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return OkStatus();
}

// Fields are separated by spaces and lines by line ends.
std::string OneWord(std::string_view text) {
  std::string word(text);
  for (char& c : word) {
    if (static_cast<unsigned char>(c) <= ' ') c = '_';
  }
  return word;
}

Term TermAt(const raft::PersistedState& state, LogIndex index) {
  if (index > state.last_index || index <= state.mark.index) {
    return index == state.mark.index ? state.mark.term : Term();
  }
  Term term;
  for (const raft::TermRun& run : state.terms) {
    if (run.first <= index) term = run.term;
  }
  return term;
}

StatusOr<Intent> FromFields(const Fields& fields) {
  Intent intent;
  uint64_t controller = 0;
  uint64_t term = 0;
  uint64_t index = 0;
  TENURE_RETURN_IF_ERROR(Take(fields, "incarnation", &intent.incarnation));
  TENURE_RETURN_IF_ERROR(Take(fields, "at_ms", &intent.at_ms));
  TENURE_RETURN_IF_ERROR(Take(fields, "controller", &controller));
  TENURE_RETURN_IF_ERROR(Take(fields, "term", &term));
  TENURE_RETURN_IF_ERROR(Take(fields, "index", &index));
  TENURE_RETURN_IF_ERROR(Take(fields, "voters", &intent.voters));
  TENURE_RETURN_IF_ERROR(Take(fields, "carried", &intent.carried));
  for (const auto& [key, text] : {std::pair{"digest", &intent.digest}, std::pair{"by", &intent.by}}) {
    const auto it = fields.find(key);
    if (it == fields.end()) return Bad(key);
    *text = it->second;
  }
  intent.controller = ControllerId(controller);
  intent.term = Term(term);
  intent.index = LogIndex(index);
  return intent;
}

}  // namespace

std::string EncodeIntent(const Intent& intent) {
  return fmt::format(
      "incarnation={} digest={} at_ms={} controller={} term={} index={} voters={} carried={} by={}",
      intent.incarnation, OneWord(intent.digest), intent.at_ms, intent.controller, intent.term, intent.index,
      fmt::join(intent.voters, ","), fmt::join(intent.carried, ","), OneWord(intent.by));
}

StatusOr<Intent> DecodeIntent(std::string_view line) {
  return FromFields(Split(line));
}

void AddToHistory(wal::Identity& identity, std::string_view line) {
  if (!identity.history.empty() && !identity.history.ends_with('\n')) identity.history += '\n';
  identity.history += line;
}

StatusOr<std::vector<Intent>> HistoryOf(const wal::Identity& identity) {
  std::vector<Intent> history;
  for (std::string_view rest = identity.history; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const Fields fields = Split(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (!fields.contains("incarnation")) continue;
    TENURE_ASSIGN_OR_RETURN(Intent intent, FromFields(fields));
    history.push_back(std::move(intent));
  }
  return history;
}

wal::Identity After(wal::Identity identity, const Intent& intent) {
#ifndef TENURE_MUTANT_recovery_keeps_incarnation
  identity.incarnation = intent.incarnation;
#endif
  AddToHistory(identity, EncodeIntent(intent));
  identity.pending.clear();
  return identity;
}

bool IsDecided(const Intent& intent, const raft::PersistedState* catalog_group) {
  return catalog_group != nullptr && !intent.term.IsNone() &&
         TermAt(*catalog_group, intent.index) == intent.term;
}

StatusOr<wal::Identity> Resolved(const wal::Identity& identity, const raft::PersistedState* catalog_group) {
  if (identity.pending.empty()) return identity;
  TENURE_ASSIGN_OR_RETURN(const Intent intent, DecodeIntent(identity.pending));
  if (IsDecided(intent, catalog_group)) return After(identity, intent);
  wal::Identity before = identity;
  before.pending.clear();
  return before;
}

Status Resolve(wal::DataDirectory& directory, const raft::PersistedState* catalog_group) {
  TENURE_ASSIGN_OR_RETURN(const wal::Identity resolved, Resolved(directory.identity(), catalog_group));
  if (resolved == directory.identity()) return OkStatus();
  if (resolved.incarnation == directory.identity().incarnation) return directory.Update(resolved);
  return directory.EnterIncarnation(resolved);
}

}  // namespace tenure::recovery
