#include "kv/kv.h"

namespace tenure::kv {

void Batch::Put(std::string key, std::string value) {
  bytes += key.size() + value.size();
  operations.push_back({Operation::Kind::kPut, std::move(key), std::move(value)});
}

void Batch::Delete(std::string key) {
  bytes += key.size();
  operations.push_back({Operation::Kind::kDelete, std::move(key), {}});
}

void Batch::DeleteRange(std::string lower, std::string upper) {
  bytes += lower.size() + upper.size();
  operations.push_back({Operation::Kind::kDeleteRange, std::move(lower), std::move(upper)});
}

void Engine::WriteSorted(std::span<const SortedWrite> writes) {
  Batch batch;
  batch.operations.reserve(writes.size());
  for (const SortedWrite& write : writes) {
    if (write.value) {
      batch.Put(std::string(write.key), std::string(*write.value));
    } else {
      batch.Delete(std::string(write.key));
    }
  }
  Write(std::move(batch));
}

std::string PrefixEnd(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<uint8_t>(end.back()) == 0xff) end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<uint8_t>(end.back()) + 1);
  return end;
}

}  // namespace tenure::kv
