#include "tests/store/random_commands.h"

#include <array>
#include <span>
#include <string>
#include <string_view>

namespace tenure::store {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::array kKeys = {"a"sv,    "b"sv,       "c"sv, "{t}d"sv,
                              "{t}e"sv, "k\0\xff"sv, ""sv,  "long-key-0123456789"sv};
constexpr std::array kFields = {"f"sv, "g"sv, "h"sv, ""sv, "field\0\x80"sv, "field-with-a-long-name"sv};
constexpr std::array kOddIntegers = {"9223372036854775807"sv,
                                     "-9223372036854775808"sv,
                                     "9223372036854775808"sv,
                                     "-9223372036854775809"sv,
                                     "+1"sv,
                                     "007"sv,
                                     "-0"sv,
                                     " 1"sv,
                                     "1 "sv,
                                     ""sv,
                                     "1.5"sv,
                                     "abc"sv,
                                     "0x10"sv,
                                     "1\0"sv,
                                     "99999999999999999999999"sv};
constexpr std::array kOddFloats = {"inf"sv,     "-inf"sv,  "nan"sv,   "1e400"sv, "1e4932"sv, "1e5000"sv,
                                   "1e-5000"sv, "0x1p3"sv, "3.0e3"sv, " 1.0"sv,  "1.0 "sv,   ".5"sv,
                                   "5."sv,      "1e-20"sv, "-0.0"sv,  "abc"sv,   "+2.25"sv,  "0.1"sv,
                                   "-0.1"sv,    "1e17"sv,  "1\0"sv};
constexpr std::array kValues = {"abc"sv,        ""sv,  "hello world"sv,
                                "\0\x01\xff"sv, "0"sv, "value with\r\nbreaks"sv};
constexpr std::array kPatterns = {"*"sv,   "f*"sv,  "?"sv, "[a-g]"sv, "[^f]"sv,
                                  "*e*"sv, "\\f"sv, ""sv,  "[f"sv,    "**"sv};

template <size_t kSize>
std::string Pick(Prng& prng, const std::array<std::string_view, kSize>& from) {
  return std::string(from[prng.Below(kSize)]);
}

class Maker {
 public:
  Maker(Prng& prng, const RandomCommandOptions& options) : prng_(prng), options_(options) {}

  Arguments Make();

 private:
  std::string Integer() {
    if (prng_.Chance(1, 8)) return Pick(prng_, kOddIntegers);
    return std::to_string(prng_.Between(-20, 20));
  }
  std::string Float() {
    if (prng_.Chance(1, 3)) return Pick(prng_, kOddFloats);
    return std::to_string(static_cast<double>(prng_.Between(-100'000, 100'000)) / 1000);
  }
  std::string Value() {
    switch (prng_.Below(8)) {
      case 0:
      case 1:
      case 2:
        return Integer();
      case 3:
        return Float();
      case 4:
        return std::string(prng_.Below(120), static_cast<char>('a' + prng_.Below(3)));
      default:
        return Pick(prng_, kValues);
    }
  }
  // Within short strings, or so far beyond the limit that Redis refuses it too.
  std::string Offset() {
    if (prng_.Chance(1, 20)) return std::to_string(prng_.Between(600'000'000, 900'000'000));
    if (prng_.Chance(1, 15)) return Pick(prng_, kOddIntegers);
    return std::to_string(prng_.Between(-3, 150));
  }
  std::string RangeEnd() {
    if (prng_.Chance(1, 15)) return Pick(prng_, kOddIntegers);
    return std::to_string(prng_.Between(-15, 15));
  }
  // Milliseconds or seconds, from now or since the epoch.
  std::string Time(bool seconds, bool absolute) {
    if (prng_.Chance(1, 12)) return WrongTime(absolute);
    int64_t ahead = prng_.Between(std::max<int64_t>(options_.min_ahead_ms, 1), options_.max_ahead_ms);
    if (absolute) ahead += options_.now_ms;
    return std::to_string(seconds ? ahead / 1000 + 1 : ahead);
  }
  std::string WrongTime(bool absolute) {
    // A number that is fine as milliseconds and overflows as seconds, and one that overflows when now is
    // added.
    constexpr std::array kOddTimes = {"9223372036854775"sv, "9223372036854776"sv, "-9223372036854776"sv,
                                      "abc"sv, "1.5"sv};
    if (!options_.past_expiries) return Pick(prng_, kOddTimes);
    if (prng_.Chance(1, 2)) return Pick(prng_, kOddTimes);
    return std::to_string(absolute ? prng_.Between(-5, 5'000) : prng_.Between(-5'000, 0));
  }
  std::string Case(std::string_view name) {
    std::string out(name);
    for (char& c : out) {
      if (prng_.Chance(1, 8) && c >= 'a' && c <= 'z') c = static_cast<char>(c - ('a' - 'A'));
    }
    return out;
  }
  void TimeOption(Arguments& out) {
    const uint64_t which = prng_.Below(4);
    constexpr std::array kNames = {"ex"sv, "px"sv, "exat"sv, "pxat"sv};
    out.push_back(Case(kNames[which]));
    if (!prng_.Chance(1, 25)) out.push_back(Time(which % 2 == 0, which >= 2));
  }
  void SetOptions(Arguments& out);
  void GetExOptions(Arguments& out);
  void ExpireOptions(Arguments& out);
  void ScanOptions(Arguments& out);
  void Fill(std::string_view pattern, Arguments& out);

  Prng& prng_;
  const RandomCommandOptions& options_;
};

void Maker::SetOptions(Arguments& out) {
  while (prng_.Chance(2, 5)) {
    constexpr std::array kFlags = {"nx"sv, "xx"sv, "get"sv, "keepttl"sv, "persist"sv};
    if (prng_.Chance(2, 5)) {
      TimeOption(out);
    } else {
      out.push_back(Case(kFlags[prng_.Below(prng_.Chance(1, 8) ? 5 : 4)]));
    }
  }
}

void Maker::GetExOptions(Arguments& out) {
  while (prng_.Chance(1, 2)) {
    if (prng_.Chance(1, 3)) {
      out.push_back(Case(prng_.Chance(1, 8) ? "keepttl" : "persist"));
    } else {
      TimeOption(out);
    }
  }
}

void Maker::ExpireOptions(Arguments& out) {
  constexpr std::array kFlags = {"nx"sv, "xx"sv, "gt"sv, "lt"sv, "zz"sv};
  while (prng_.Chance(2, 5)) out.push_back(Case(kFlags[prng_.Below(prng_.Chance(1, 8) ? 5 : 4)]));
}

void Maker::ScanOptions(Arguments& out) {
  while (prng_.Chance(2, 5)) {
    if (prng_.Chance(1, 2)) {
      out.push_back(Case("match"));
      out.push_back(Pick(prng_, kPatterns));
    } else {
      out.push_back(Case(prng_.Chance(1, 20) ? "cout" : "count"));
      if (!prng_.Chance(1, 20))
        out.push_back(prng_.Chance(1, 10) ? Integer() : std::to_string(prng_.Between(1, 5)));
    }
  }
}

// k key, v value, f field, i integer, d float, o offset, r end of a range; s, S seconds and p, P milliseconds
// from now and since the epoch; c cursor; (..) repeated; 1 SET's, 2 GETEX's, 3 EXPIRE's, 4 HSCAN's options.
void Maker::Fill(std::string_view pattern, Arguments& out) {
  for (size_t at = 0; at < pattern.size(); ++at) {
    switch (pattern[at]) {
      case 'k':
        out.push_back(Pick(prng_, kKeys));
        break;
      case 'v':
        out.push_back(Value());
        break;
      case 'f':
        out.push_back(Pick(prng_, kFields));
        break;
      case 'i':
        out.push_back(Integer());
        break;
      case 'd':
        out.push_back(Float());
        break;
      case 'o':
        out.push_back(Offset());
        break;
      case 'r':
        out.push_back(RangeEnd());
        break;
      case 's':
        out.push_back(Time(true, false));
        break;
      case 'S':
        out.push_back(Time(true, true));
        break;
      case 'p':
        out.push_back(Time(false, false));
        break;
      case 'P':
        out.push_back(Time(false, true));
        break;
      case 'c':
        out.push_back(prng_.Chance(1, 15) ? Pick(prng_, kOddIntegers) : "0");
        break;
      case '1':
        SetOptions(out);
        break;
      case '2':
        GetExOptions(out);
        break;
      case '3':
        ExpireOptions(out);
        break;
      case '4':
        ScanOptions(out);
        break;
      default: {
        const size_t close = pattern.find(')', at);
        const uint64_t times = 1 + prng_.Below(4);
        for (uint64_t i = 0; i < times; ++i) Fill(pattern.substr(at + 1, close - at - 1), out);
        at = close;
      }
    }
  }
}

struct Form {
  std::string_view name;
  std::string_view pattern;
  uint32_t weight;
};
constexpr auto kForms = std::to_array<Form>({
    {"get", "k", 6},
    {"set", "kv1", 14},
    {"setnx", "kv", 2},
    {"setex", "ksv", 2},
    {"psetex", "kpv", 2},
    {"getset", "kv", 2},
    {"getdel", "k", 2},
    {"getex", "k2", 4},
    {"mget", "(k)", 2},
    {"mset", "(kv)", 2},
    {"msetnx", "(kv)", 2},
    {"append", "kv", 4},
    {"strlen", "k", 2},
    {"incr", "k", 3},
    {"decr", "k", 3},
    {"incrby", "ki", 4},
    {"decrby", "ki", 4},
    {"incrbyfloat", "kd", 6},
    {"getrange", "krr", 4},
    {"substr", "krr", 1},
    {"setrange", "kov", 4},
    {"hset", "k(fv)", 14},
    {"hmset", "k(fv)", 3},
    {"hsetnx", "kfv", 4},
    {"hget", "kf", 4},
    {"hmget", "k(f)", 3},
    {"hgetall", "k", 4},
    {"hdel", "k(f)", 5},
    {"hexists", "kf", 3},
    {"hkeys", "k", 2},
    {"hvals", "k", 2},
    {"hlen", "k", 2},
    {"hstrlen", "kf", 2},
    {"hincrby", "kfi", 5},
    {"hincrbyfloat", "kfd", 6},
    {"hscan", "kc4", 5},
    {"del", "(k)", 4},
    {"unlink", "(k)", 2},
    {"exists", "(k)", 3},
    {"touch", "(k)", 1},
    {"type", "k", 3},
    {"expire", "ks3", 4},
    {"pexpire", "kp3", 4},
    {"expireat", "kS3", 4},
    {"pexpireat", "kP3", 4},
    {"persist", "k", 3},
    {"ttl", "k", 3},
    {"pttl", "k", 3},
    {"expiretime", "k", 3},
    {"pexpiretime", "k", 3},
});

Arguments Maker::Make() {
  uint32_t total = 0;
  for (const Form& form : kForms) total += form.weight;
  uint64_t at = prng_.Below(total);
  const Form* chosen = kForms.data();
  while (at >= chosen->weight) at -= (chosen++)->weight;
  Arguments out{Case(chosen->name)};
  Fill(chosen->pattern, out);
  if (prng_.Chance(1, 60)) out.push_back(Value());
  if (prng_.Chance(1, 60) && out.size() > 1) out.pop_back();
  return out;
}

}  // namespace

Arguments RandomCommand(Prng& prng, const RandomCommandOptions& options) {
  return Maker(prng, options).Make();
}

}  // namespace tenure::store
