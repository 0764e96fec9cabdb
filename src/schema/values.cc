#include "schema/values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/utf8.h"

namespace tenure::schema {
namespace {

using namespace ::tenure::v1;

struct TypeName {
  ColumnType type;
  std::string_view name;
};
constexpr std::array kTypes = {TypeName{COLUMN_INT64, "int64"}, TypeName{COLUMN_FLOAT64, "float64"},
                               TypeName{COLUMN_BOOL, "bool"},   TypeName{COLUMN_TEXT, "text"},
                               TypeName{COLUMN_BYTES, "bytes"}, TypeName{COLUMN_TIMESTAMP, "timestamp"}};

constexpr int64_t kMicrosPerSecond = 1'000'000;
constexpr int64_t kSecondsPerDay = 86'400;
constexpr size_t kShownBytes = 40;

// Of bytes that a person is to read in a message.
std::string Shown(std::string_view text) {
  std::string shown;
  for (const char c : text.substr(0, kShownBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      shown.push_back(c);
    } else {
      shown += fmt::format("\\x{:02x}", byte);
    }
  }
  return text.size() > kShownBytes ? shown + "..." : shown;
}

Status Not(std::string_view text, std::string_view what) {
  return Error(StatusCode::kInvalidArgument, "'{}' is not {}", Shown(text), what);
}

template <class Number>
std::optional<Number> ParseWhole(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// Days since 1970-01-01 of a date of the proleptic Gregorian calendar, and back (Hinnant, "chrono-compatible
// low-level date algorithms").
constexpr int64_t DaysOf(int64_t year, int64_t month, int64_t day) {
  year -= month <= 2 ? 1 : 0;
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const int64_t year_of_era = year - era * 400;
  const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

struct Date {
  int64_t year;
  int64_t month;
  int64_t day;
};
Date DateOf(int64_t days) {
  days += 719468;
  const int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const int64_t day_of_era = days - era * 146097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t shifted = (5 * day_of_year + 2) / 153;
  const int64_t month = shifted + (shifted < 10 ? 3 : -9);
  return {year_of_era + era * 400 + (month <= 2 ? 1 : 0), month, day_of_year - (153 * shifted + 2) / 5 + 1};
}

int64_t LastDayOf(int64_t year, int64_t month) {
  constexpr std::array<int64_t, 12> kDays = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return kDays[static_cast<size_t>(month - 1)] + (month == 2 && leap ? 1 : 0);
}

constexpr int64_t kFirstMicros = DaysOf(1, 1, 1) * kSecondsPerDay * kMicrosPerSecond;
constexpr int64_t kLastMicros = DaysOf(10000, 1, 1) * kSecondsPerDay * kMicrosPerSecond - 1;

// Takes fixed parts from the front of a text.
class Front {
 public:
  explicit Front(std::string_view text) : rest_(text) {}
  // `digits` of them, in low..high.
  std::optional<int64_t> Number(size_t digits, int64_t low, int64_t high) {
    if (rest_.size() < digits) return std::nullopt;
    int64_t number = 0;
    for (const char c : rest_.substr(0, digits)) {
      if (c < '0' || c > '9') return std::nullopt;
      number = number * 10 + (c - '0');
    }
    rest_.remove_prefix(digits);
    return number >= low && number <= high ? std::optional(number) : std::nullopt;
  }
  // One of `allowed`; 0: none of them.
  char OneOf(std::string_view allowed) {
    if (rest_.empty() || allowed.find(rest_[0]) == std::string_view::npos) return 0;
    const char c = rest_[0];
    rest_.remove_prefix(1);
    return c;
  }
  // ".123456", at most six digits, as micros; 0 if there is none.
  std::optional<int64_t> Fraction() {
    if (OneOf(".") == 0) return 0;
    int64_t micros = 0;
    int64_t unit = 100'000;
    bool any = false;
    while (const char digit = OneOf("0123456789")) {
      if (unit == 0) return std::nullopt;
      micros += (digit - '0') * unit;
      unit /= 10;
      any = true;
    }
    return any ? std::optional(micros) : std::nullopt;
  }
  bool empty() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

// "Z" or "+02:00", as seconds east of Greenwich.
std::optional<int64_t> ParseOffset(Front& front) {
  const char sign = front.OneOf("Zz+-");
  if (sign == 0) return std::nullopt;
  if (sign == 'Z' || sign == 'z') return 0;
  const auto hours = front.Number(2, 0, 23);
  if (!hours || front.OneOf(":") == 0) return std::nullopt;
  const auto minutes = front.Number(2, 0, 59);
  if (!minutes) return std::nullopt;
  return (*hours * 60 + *minutes) * 60 * (sign == '-' ? -1 : 1);
}

std::optional<int64_t> ParseIso(std::string_view text) {
  Front front(text);
  const auto year = front.Number(4, 1, 9999);
  if (!year || front.OneOf("-") == 0) return std::nullopt;
  const auto month = front.Number(2, 1, 12);
  if (!month || front.OneOf("-") == 0) return std::nullopt;
  const auto day = front.Number(2, 1, LastDayOf(*year, *month));
  if (!day || front.OneOf("Tt ") == 0) return std::nullopt;
  const auto hour = front.Number(2, 0, 23);
  if (!hour || front.OneOf(":") == 0) return std::nullopt;
  const auto minute = front.Number(2, 0, 59);
  if (!minute || front.OneOf(":") == 0) return std::nullopt;
  const auto second = front.Number(2, 0, 59);
  if (!second) return std::nullopt;
  const auto fraction = front.Fraction();
  if (!fraction) return std::nullopt;
  const auto offset = ParseOffset(front);
  if (!offset || !front.empty()) return std::nullopt;
  const int64_t seconds =
      DaysOf(*year, *month, *day) * kSecondsPerDay + (*hour * 60 + *minute) * 60 + *second;
  return (seconds - *offset) * kMicrosPerSecond + *fraction;
}

StatusOr<std::string> CanonicalFloat(std::string_view text) {
  const auto number = ParseWhole<double>(text);
  if (!number || !std::isfinite(*number)) return Not(text, "a float64: a decimal number that is finite");
  std::array<char, 32> digits;
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), *number);
  return std::string(digits.data(), end);
}

}  // namespace

std::string_view NameOf(ColumnType type) {
  for (const TypeName& known : kTypes) {
    if (known.type == type) return known.name;
  }
  return "unknown";
}

std::optional<ColumnType> ParseType(std::string_view name) {
  for (const TypeName& known : kTypes) {
    if (known.name == name) return known.type;
  }
  return std::nullopt;
}

std::string TypeNames() {
  std::string names;
  for (const TypeName& known : kTypes) names += (names.empty() ? "" : ", ") + std::string(known.name);
  return names;
}

StatusOr<std::string> Canonical(ColumnType type, std::string_view text) {
  switch (type) {
    case COLUMN_INT64: {
      const auto number = ParseWhole<int64_t>(text);
      if (!number || std::to_string(*number) != text)
        return Not(text, fmt::format("an int64: a decimal number in {}..{}", INT64_MIN, INT64_MAX));
      return std::string(text);
    }
    case COLUMN_FLOAT64:
      return CanonicalFloat(text);
    case COLUMN_BOOL:
      if (text == "true" || text == "1") return std::string("true");
      if (text == "false" || text == "0") return std::string("false");
      return Not(text, "a bool: true, false, 1 or 0");
    case COLUMN_TEXT:
      if (!IsValidUtf8(text)) return Not(text, "text: it has to be valid UTF-8");
      return std::string(text);
    case COLUMN_BYTES:
      return std::string(text);
    case COLUMN_TIMESTAMP: {
      const auto micros = ParseTimestamp(text);
      if (!micros) {
        return Not(text,
                   "a timestamp: 2024-05-06T07:08:09.123456Z, or milliseconds since 1970; years 1 to 9999");
      }
      return FormatTimestamp(*micros);
    }
    default:
      break;
  }
  return Error(StatusCode::kInvalidArgument, "type {} is none of {}", static_cast<int>(type), TypeNames());
}

std::optional<int64_t> ParseTimestamp(std::string_view text) {
  std::optional<int64_t> micros;
  if (const auto millis = ParseWhole<int64_t>(text)) {
    if (*millis < kFirstMicros / 1000 || *millis > kLastMicros / 1000) return std::nullopt;
    micros = *millis * 1000;
  } else {
    micros = ParseIso(text);
  }
  if (!micros || *micros < kFirstMicros || *micros > kLastMicros) return std::nullopt;
  return micros;
}

std::string FormatTimestamp(int64_t micros) {
  int64_t seconds = micros / kMicrosPerSecond;
  int64_t fraction = micros % kMicrosPerSecond;
  if (fraction < 0) fraction += kMicrosPerSecond, --seconds;
  int64_t days = seconds / kSecondsPerDay;
  int64_t second = seconds % kSecondsPerDay;
  if (second < 0) second += kSecondsPerDay, --days;
  const Date date = DateOf(days);
  std::string text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", date.year, date.month, date.day,
                                 second / 3600, second / 60 % 60, second % 60);
  if (fraction != 0) {
    text += fmt::format(".{:06}", fraction);
    while (text.back() == '0') text.pop_back();
  }
  return text + "Z";
}

}  // namespace tenure::schema
