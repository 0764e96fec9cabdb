#include "store/transaction_work.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "base/hash.h"
#include "store/command_list.h"
#include "store/layout.h"
#include "store/number.h"

namespace tenure::store {
namespace {

// So many cannot reach the limit, whatever they name.
constexpr size_t kFewCommands = kMaxTransactionWork / Limits{}.max_value_bytes;

class WorkMeter {
 public:
  explicit WorkMeter(const kv::Reader& state) : state_(state) {}

  void Add(const Arguments& words) {
    const CommandSpec* const spec = words.empty() ? nullptr : FindCommand(words[0]);
    if (spec == nullptr || !CheckArity(*spec, words).ok()) return;
    VisitKeys(*spec, words, [&](std::string_view key) {
      uint64_t& size = SizeOf(RecordKey(SlotOfKey(key), key));
      if (spec->name == "append") size += words[2].size();
      if (spec->name == "setrange") {
        const auto offset = ParseInteger(words[2]);
        if (offset && *offset >= 0) size = std::max(size, static_cast<uint64_t>(*offset) + words[3].size());
      }
      if (spec->name == "set") size = words[2].size();
      work_ += size;
      return !exceeded();
    });
  }
  void Add(const RowCommand& rows) {
    for (const RowKey& key : rows.keys) {
      if (exceeded()) return;
      work_ += key.table == 0 ? 0 : SizeOf(RowStateKey(key.table, key.slot, key.key));
    }
  }
  bool exceeded() const { return work_ > kMaxTransactionWork; }

 private:
  uint64_t& SizeOf(std::string state_key) {
    const auto [it, is_new] = sizes_.try_emplace(std::move(state_key), 0);
    if (is_new) {
      const auto record = state_.Get(it->first);
      it->second = record ? record->size() : 0;
      work_ += it->second;  // reading it is work too
    }
    return it->second;
  }

  const kv::Reader& state_;
  std::map<std::string, uint64_t> sizes_;
  uint64_t work_ = 0;
};

}  // namespace

Status CheckTransactionWork(const WriteCommand& command, const kv::Reader& state) {
  size_t named = 0;
  for (const Arguments& words : command.commands) named += words.size();
  for (const Step& step : command.steps) {
    const auto* const words = std::get_if<Arguments>(&step);
    named += words != nullptr ? words->size() : 1;
  }
  if (named <= kFewCommands) return OkStatus();
  WorkMeter meter(state);
  for (size_t i = 0; i < command.commands.size() && !meter.exceeded(); ++i) meter.Add(command.commands[i]);
  for (size_t i = 0; i < command.steps.size() && !meter.exceeded(); ++i) {
    if (const auto* const words = std::get_if<Arguments>(&command.steps[i])) meter.Add(*words);
    if (const auto* const rows = std::get_if<RowCommand>(&command.steps[i])) meter.Add(*rows);
  }
  if (!meter.exceeded()) return OkStatus();
  return Error(
      StatusCode::kInvalidArgument,
      "the commands of the transaction would read and write more than {} bytes of values, the limit; "
      "nothing is done",
      kMaxTransactionWork);
}

}  // namespace tenure::store
