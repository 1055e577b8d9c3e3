#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stop_token>

namespace fathom {

/// A page that one entry of a TLB covers where the system lends it: memory that is read from end to end, a
/// gigabyte for a token, otherwise waits for its page tables.
constexpr std::size_t kHugePage = std::size_t{2} << 20U;

/// Whether the system lends huge pages to who asks for them.
bool has_huge_pages();

/// Replaces parts of files that this process has mapped read-only by copies in huge pages, at the same
/// addresses: who reads there meanwhile sees the same bytes all the time. What lies in no such file, or less
/// than a huge page from its ends, stays as it is, and so does everything where the system has no huge pages.
/// The copies are this process's own, and live as long as the files' mappings.
/// @param parts  any memory, in any order; what comes first is copied first
/// @param limit   bytes to copy at most
/// @param copied  bytes that were copied so far are added here
void copy_into_huge_pages(std::span<const std::span<const std::byte>> parts, std::uint64_t limit,
                          std::atomic<std::uint64_t>& copied, const std::stop_token& stop = {});

}  // namespace fathom
