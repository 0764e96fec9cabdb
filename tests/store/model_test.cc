// RegionStore against a model that a reader can check by eye: a map of values with expiry. Time moves on (and
// at a change of leader back), keys expire, sweeps, transactions and watches mix in.

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>

#include "base/prng.h"
#include "store/number.h"
#include "tests/store/test_region.h"

namespace tenure::store {
namespace {

struct ModelValue {
  bool is_hash = false;
  std::string text;
  std::map<std::string, std::string> fields;
  int64_t expiry_ms = 0;
};

class Model {
 public:
  // Time as the region's clock shows it: never back.
  void SetTime(int64_t now_ms) {
    now_ms_ = std::max(now_ms_, now_ms);
    std::erase_if(values_, [this](const auto& entry) {
      return entry.second.expiry_ms != 0 && entry.second.expiry_ms < now_ms_;
    });
  }
  std::string Ask(const Arguments& arguments);
  size_t size() const { return values_.size(); }
  int64_t now_ms() const { return now_ms_; }

 private:
  std::string Set(const Arguments& arguments);
  std::string Hash(const Arguments& arguments);
  std::string Text(const Arguments& arguments);
  std::string ExpiryOf(const Arguments& arguments);

  ModelValue* Find(const std::string& key) {
    const auto found = values_.find(key);
    return found == values_.end() ? nullptr : &found->second;
  }

  int64_t now_ms_ = 0;
  std::map<std::string, ModelValue> values_;
};

const char* const kWrongType = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";

std::string Number(int64_t value) {
  return fmt::format("(integer) {}", value);
}

// SET key value [PX ms | KEEPTTL] [NX | XX]
std::string Model::Set(const Arguments& arguments) {
  ModelValue value{.text = arguments[2]};
  const ModelValue* const old = Find(arguments[1]);
  for (size_t at = 3; at < arguments.size(); ++at) {
    if (arguments[at] == "NX" && old != nullptr) return "(nil)";
    if (arguments[at] == "XX" && old == nullptr) return "(nil)";
    if (arguments[at] == "KEEPTTL" && old != nullptr) value.expiry_ms = old->expiry_ms;
    if (arguments[at] == "PX") value.expiry_ms = now_ms_ + std::stoll(arguments[++at]);
  }
  values_[arguments[1]] = value;
  return "OK";
}

std::string Model::Hash(const Arguments& arguments) {
  ModelValue* value = Find(arguments[1]);
  if (value != nullptr && !value->is_hash) return kWrongType;
  if (arguments[0] == "HSET") {
    if (value == nullptr) value = &(values_[arguments[1]] = ModelValue{.is_hash = true});
    const bool is_new = value->fields.insert_or_assign(arguments[2], arguments[3]).second;
    return Number(is_new ? 1 : 0);
  }
  if (arguments[0] == "HLEN")
    return Number(value == nullptr ? 0 : static_cast<int64_t>(value->fields.size()));
  const auto found =
      value == nullptr ? std::map<std::string, std::string>::iterator() : value->fields.find(arguments[2]);
  const bool there = value != nullptr && found != value->fields.end();
  if (arguments[0] == "HGET") return there ? Quoted(found->second) : "(nil)";
  if (!there) return Number(0);
  value->fields.erase(found);
  if (value->fields.empty()) values_.erase(arguments[1]);
  return Number(1);
}

std::string Model::Text(const Arguments& arguments) {
  ModelValue* value = Find(arguments[1]);
  if (value != nullptr && value->is_hash) return kWrongType;
  if (arguments[0] == "GET") return value == nullptr ? "(nil)" : Quoted(value->text);
  if (arguments[0] == "APPEND") {
    std::string& text = values_[arguments[1]].text;
    text += arguments[2];
    return Number(static_cast<int64_t>(text.size()));
  }
  const auto number = value == nullptr ? 0 : ParseInteger(value->text);
  if (!number) return "(error) ERR value is not an integer or out of range";
  values_[arguments[1]].text = std::to_string(*number + 1);
  return Number(*number + 1);
}

std::string Model::ExpiryOf(const Arguments& arguments) {
  ModelValue* const value = Find(arguments[1]);
  if (arguments[0] == "PTTL") {
    if (value == nullptr) return Number(-2);
    return Number(value->expiry_ms == 0 ? -1 : value->expiry_ms - now_ms_);
  }
  if (value == nullptr) return Number(0);
  if (arguments[0] == "PERSIST") return Number(std::exchange(value->expiry_ms, 0) == 0 ? 0 : 1);
  value->expiry_ms = now_ms_ + std::stoll(arguments[2]);
  if (value->expiry_ms <= now_ms_) values_.erase(arguments[1]);
  return Number(1);
}

std::string Model::Ask(const Arguments& arguments) {
  const std::string& name = arguments[0];
  if (name == "SET") return Set(arguments);
  if (name == "DEL") return Number(static_cast<int64_t>(values_.erase(arguments[1])));
  if (name == "EXISTS") return Number(Find(arguments[1]) == nullptr ? 0 : 1);
  if (name[0] == 'H') return Hash(arguments);
  if (name[0] == 'P') return ExpiryOf(arguments);
  return Text(arguments);
}

Arguments RandomLine(Prng& prng) {
  const auto key = [&prng] { return std::string(1, static_cast<char>('a' + prng.Below(4))); };
  const auto field = [&prng] { return fmt::format("f{}", prng.Below(100)); };
  const auto time = [&prng] { return std::to_string(prng.Between(1, 300)); };
  const auto value = [&prng] { return std::to_string(prng.Below(100)); };
  switch (prng.Below(16)) {
    case 0: {
      Arguments set{"SET", key(), value()};
      if (prng.Chance(1, 2)) set.insert(set.end(), {"PX", time()});
      if (prng.Chance(1, 4)) set.push_back(prng.Chance(1, 2) ? "NX" : "XX");
      return set;
    }
    case 1:
      return {"SET", key(), value(), "KEEPTTL"};
    case 2:
      return {"GET", key()};
    case 3:
      return {"APPEND", key(), value()};
    case 4:
      return {"INCR", key()};
    case 5:
      return {"DEL", key()};
    case 6:
      return {"EXISTS", key()};
    case 7:
      return {"HLEN", key()};
    case 8:
      return {"HGET", key(), field()};
    case 9:
      return {"HDEL", key(), field()};
    case 10:
      return {"PTTL", key()};
    case 11:
      return {"PERSIST", key()};
    case 12:
      return {"PEXPIRE", key(), prng.Chance(1, 10) ? "0" : time()};
    default:
      return {"HSET", key(), field(), value()};
  }
}

struct Pair {
  TestRegion region;
  Model model;
  int64_t clock_ms = 1'000'000;

  void Move(Prng& prng) {
    clock_ms += prng.Chance(1, 50) ? -prng.Between(0, 50) : prng.Between(0, 30);
    region.now = WallFromMillis(clock_ms);
    // The region's clock stands where a command last looked at it; before the model can follow, it must look.
    region.Run("SET clock 1 PX 1000000");
    region.Run("DEL clock");
    model.SetTime(clock_ms);
  }
  void Compare(const Arguments& arguments) { RC_ASSERT(Show(region.Run(arguments)) == model.Ask(arguments)); }
  // Watches are right or wrong on purpose; then either everything happens or nothing.
  void CompareTransaction(Prng& prng) {
    const std::string watched = "a";
    const uint64_t version = region.store.VersionOf(watched, region.now, region.state);
    const bool holds = prng.Chance(2, 3);
    WriteCommand command{.now = region.now,
                         .kind = WriteCommand::Kind::kTransaction,
                         .watches = {{watched, holds ? version : version + 1}}};
    for (uint64_t n = prng.Below(5); n > 0; --n) command.commands.push_back(RandomLine(prng));
    region.index = region.index.Next();
    const Reply reply = region.store.Apply(command, region.index, region.state);
    RC_ASSERT((reply.kind == Reply::Kind::kNull) != holds);
    for (size_t i = 0; holds && i < command.commands.size(); ++i) {
      RC_ASSERT(Show(reply.elements.at(i)) == model.Ask(command.commands[i]));
    }
  }
  void Sweep(Prng& prng) {
    const uint64_t before = region.store.KeyCount(region.state);
    const auto limit = static_cast<uint32_t>(1 + prng.Below(3));
    const auto expired = static_cast<int64_t>(before - model.size());
    RC_ASSERT(region.store.HasExpired(region.now, region.state) == (expired > 0));
    RC_ASSERT(region.Sweep(limit) == std::min<int64_t>(limit, expired));
  }
};

RC_GTEST_PROP(Model, RegionStoreBehavesAsAMapWithExpiry, (uint64_t seed)) {
  Prng prng(seed);
  Pair pair;
  for (int i = 0; i < 400; ++i) {
    pair.Move(prng);
    if (prng.Chance(1, 20)) {
      pair.Sweep(prng);
    } else if (prng.Chance(1, 10)) {
      pair.CompareTransaction(prng);
    } else {
      pair.Compare(RandomLine(prng));
    }
    CheckInvariants(pair.region.state);
  }
}

}  // namespace
}  // namespace tenure::store
