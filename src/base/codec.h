// Fixed-width little-endian and varint encoding of integers, and a bounds-checked reader, for the formats
// of the project's own files. Keys use big-endian so that byte order is number order.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tenure {

void PutFixed32(std::string& out, uint32_t value);
void PutFixed64(std::string& out, uint64_t value);
void PutVarint(std::string& out, uint64_t value);
// Varint length, then the bytes.
void PutPrefixed(std::string& out, std::string_view bytes);
void PutBigEndian16(std::string& out, uint16_t value);
void PutBigEndian64(std::string& out, uint64_t value);

uint16_t GetBigEndian16(const char* bytes);
uint64_t GetBigEndian64(const char* bytes);
uint32_t GetFixed32(const char* bytes);
uint64_t GetFixed64(const char* bytes);

// Reads from the front of a buffer it does not own. After the first failed read `ok()` is false and every
// further read yields zero or empty: callers check once at the end.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}
  uint8_t Byte();
  uint32_t Fixed32();
  uint64_t Fixed64();
  uint64_t Varint();
  std::string_view Prefixed();
  std::string_view Raw(size_t size);
  bool ok() const { return ok_; }
  // True if everything was read and nothing failed.
  bool AtEnd() const { return ok_ && rest_.empty(); }
  std::string_view rest() const { return rest_; }

 private:
  bool Need(size_t size);
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace tenure
