#include "tests/store/test_region.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <charconv>
#include <map>
#include <set>
#include <sstream>

#include "base/codec.h"
#include "base/hash.h"
#include "store/layout.h"

namespace tenure::store {
namespace {

char Unescape(std::string_view line, size_t& at) {
  const char c = line[++at];
  if (c == 'n') return '\n';
  if (c == 'r') return '\r';
  if (c != 'x') return c;
  int value = 0;
  std::from_chars(line.data() + at + 1, line.data() + at + 3, value, 16);
  at += 2;
  return static_cast<char>(value);
}

}  // namespace

Arguments Words(std::string_view line) {
  Arguments words;
  for (size_t at = 0; at < line.size();) {
    if (line[at] == ' ') {
      ++at;
      continue;
    }
    std::string word;
    if (line[at] == '"') {
      for (++at; at < line.size() && line[at] != '"'; ++at) {
        word.push_back(line[at] == '\\' ? Unescape(line, at) : line[at]);
      }
      ++at;
    } else {
      while (at < line.size() && line[at] != ' ') word.push_back(line[at++]);
    }
    words.push_back(std::move(word));
  }
  return words;
}

std::string Quoted(std::string_view bytes) {
  std::string out = "\"";
  for (const char c : bytes) {
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (c >= ' ' && c <= '~') {
      out.push_back(c);
    } else {
      out += fmt::format("\\x{:02x}", static_cast<uint8_t>(c));
    }
  }
  return out + "\"";
}

std::string Show(const Reply& reply) {
  const auto list = [&reply](char open, char close) {
    std::string out(1, open);
    for (size_t i = 0; i < reply.elements.size(); ++i) {
      if (i > 0) out += reply.kind == Reply::Kind::kMap && i % 2 == 1 ? ": " : ", ";
      out += Show(reply.elements[i]);
    }
    out.push_back(close);
    return out;
  };
  switch (reply.kind) {
    case Reply::Kind::kSimple:
      return reply.text;
    case Reply::Kind::kError:
      return "(error) " + reply.text;
    case Reply::Kind::kInteger:
    case Reply::Kind::kBoolean:
      return fmt::format("(integer) {}", reply.integer);
    case Reply::Kind::kBulk:
    case Reply::Kind::kDouble:
      return Quoted(reply.text);
    case Reply::Kind::kNull:
      return "(nil)";
    case Reply::Kind::kArray:
    case Reply::Kind::kSet:
      return list('[', ']');
    case Reply::Kind::kMap:
      return list('{', '}');
  }
  return "?";
}

std::string ShowCommand(const Arguments& arguments) {
  std::string out;
  for (const std::string& argument : arguments) {
    const std::string quoted = Quoted(argument.size() > 200 ? argument.substr(0, 200) + "..." : argument);
    const bool plain =
        quoted.size() == argument.size() + 2 && !argument.empty() && argument.find(' ') == argument.npos;
    out += (out.empty() ? "" : " ") + (plain ? argument : quoted);
  }
  return out;
}

void CheckInvariants(const MapView& state) {
  uint64_t keys = 0;
  std::map<std::string, uint64_t> expected_fields;  // by prefix
  std::map<std::string, std::string> expected_expiries;
  std::map<std::string, uint64_t> fields;
  std::map<std::string, std::string> expiries;
  std::map<uint64_t, uint64_t> expected_rows;  // by table
  std::map<uint64_t, uint64_t> rows;
  std::set<std::string> expected_row_expiries;
  std::set<std::string> row_expiries;
  Counters counters;
  for (const auto& [key, value] : state.map()) {
    switch (key[0]) {
      case kRecordPrefix: {
        ++keys;
        const RecordHeader header = DecodeRecordHeader(value);
        const std::string name(KeyOfRecordKey(key));
        EXPECT_EQ(SlotOfRecordKey(key), SlotOfKey(name));
        if (header.type == ValueType::kHash) {
          EXPECT_GT(header.fields, 0u) << "S3: " << Quoted(name);
          expected_fields[FieldsPrefix(SlotOfKey(name), name)] = header.fields;
        }
        if (header.expiry_ms != 0) expected_expiries[ExpiryKey(header.expiry_ms, SlotOfKey(name), name)] = "";
        break;
      }
      case kFieldPrefix: {
        const uint32_t size =
            (static_cast<uint32_t>(GetBigEndian16(key.data() + 3)) << 16) | GetBigEndian16(key.data() + 5);
        ++fields[key.substr(0, 7 + size)];
        EXPECT_EQ(HashInFieldKey(key, 7 + size), HashOfField(FieldOfFieldKey(key, 7 + size)));
        break;
      }
      case kExpiryPrefix:
        expiries[key] = value;
        break;
      case kRangePrefix:
        EXPECT_EQ(EncodeRegionRange(DecodeRegionRange(value)), value);
        break;
      case kSchemaPrefix:
        break;
      case kRowPrefix:
        EXPECT_FALSE(FindSchemaMark(TableOfKey(key), state).dropped) << "S6";
        ++expected_rows[TableOfKey(key)];
        if (const int64_t expiry_ms = ExpiryOfRow(value); expiry_ms != 0) {
          expected_row_expiries.insert(
              RowExpiryKey(TableOfKey(key), expiry_ms, SlotOfRowStateKey(key), KeyOfRowStateKey(key)));
        }
        break;
      case kRowCountPrefix:
        rows[TableOfKey(key)] = RowCount(TableOfKey(key), state);
        break;
      case kRowExpiryPrefix:
        row_expiries.insert(key);
        break;
      default:
        EXPECT_EQ(key, "m");
        counters = DecodeCounters(value);
    }
  }
  EXPECT_EQ(counters.keys, keys) << "S1";
  EXPECT_EQ(expiries, expected_expiries) << "S2";
  EXPECT_EQ(fields, expected_fields) << "S3";
  EXPECT_EQ(rows, expected_rows) << "S7";
  EXPECT_EQ(row_expiries, expected_row_expiries) << "S8";
}

Reply TestRegion::Run(const Arguments& arguments) {
  if (const Status valid = Validate(arguments, Limits{}); !valid.ok()) {
    return Reply::Error(std::string(MessageOf(valid)));
  }
  if (!FindCommand(arguments[0])->write) return store.Read(arguments, now, state);
  index = index.Next();
  return store.Apply(WriteCommand{.now = now, .commands = {arguments}}, index, state);
}

Reply TestRegion::Transaction(const std::vector<std::string>& lines, std::vector<WatchedKey> watches) {
  WriteCommand command{.now = now, .kind = WriteCommand::Kind::kTransaction, .watches = std::move(watches)};
  for (const std::string& line : lines) command.commands.push_back(Words(line));
  index = index.Next();
  return store.Apply(command, index, state);
}

int64_t TestRegion::Sweep(uint32_t limit) {
  index = index.Next();
  return store
      .Apply(WriteCommand{.now = now, .kind = WriteCommand::Kind::kSweep, .sweep_limit = limit}, index, state)
      .integer;
}

void TestRegion::Script(std::string_view script) {
  std::istringstream lines{std::string(script)};
  std::string line;
  while (std::getline(lines, line)) {
    line.erase(0, std::min(line.find_first_not_of(' '), line.size()));
    if (line.starts_with("@ ")) now = WallFromMillis(std::stoll(line.substr(2)));
    if (line.starts_with("+ ")) now += std::chrono::milliseconds(std::stoll(line.substr(2)));
    if (!line.starts_with("> ")) continue;
    std::string expected;
    std::getline(lines, expected);
    expected.erase(0, std::min(expected.find_first_not_of(' '), expected.size()));
    EXPECT_EQ(Ask(line.substr(2)), expected) << line;
    CheckInvariants(state);
  }
}

}  // namespace tenure::store
