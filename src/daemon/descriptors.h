// How many files and connections the process may have open, and how many of them clients of the Redis protocol get.
//
// Every connection is a descriptor, as is every file of the log and the engine. A process that cannot open a file of
// its own has to end, so clients only get what the others leave.
//
// Threading: RaiseDescriptorLimit before other threads are made; the rest is pure.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/status.h"

namespace tenure::daemon {

// For tables of the engine, the log, snapshots, and the connections of other processes and of changefeeds.
inline constexpr uint64_t kReservedDescriptors = 768;
inline constexpr uint64_t kLeastClients = 32;

// Raises the soft limit (`ulimit -n`) to the hard one; returns what then holds.
uint64_t RaiseDescriptorLimit();

// How many of `wanted` clients fit into `limit`. FAILED_PRECONDITION: not even kLeastClients.
StatusOr<size_t> ClientsWithin(uint64_t limit, size_t wanted);

}  // namespace tenure::daemon
