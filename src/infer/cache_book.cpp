#include "infer/cache_book.h"

#include <numeric>

#include "base/error.h"

namespace fathom {

CacheBook::CacheBook(const CacheOptions& options)
    : capacity_(options.pages()),
      shares_(options.shares_prefixes),
      page_positions_(options.page_positions),
      tree_(options.page_positions),
      pages_(static_cast<std::size_t>(capacity_)),
      free_(pages_.size()) {
  std::iota(free_.rbegin(), free_.rend(), 0);
}

std::int64_t CacheBook::available() const {
  return static_cast<std::int64_t>(free_.size()) + only_in_tree_;
}

std::int64_t CacheBook::pages_for(std::span<const std::int32_t> tokens) const {
  const auto count = static_cast<std::int64_t>(tokens.size());
  const std::int64_t pages = (count + page_positions_ - 1) / page_positions_;
  return pages - (shares_ ? tree_.matched(tokens.first(tokens.size() - 1)) / page_positions_ : 0);
}

void CacheBook::use(PageId page) {
  Page& used = at(page);
  if (used.users++ == 0 && used.is_in_tree) --only_in_tree_;
}

void CacheBook::release(std::span<const PageId> pages, std::span<const std::int32_t> tokens) {
  if (shares_ && !tokens.empty())
    for (const PageId page : tree_.insert(tokens, pages)) at(page).is_in_tree = true;
  for (const PageId page : pages) drop_use(page);
}

void CacheBook::drop_use(PageId page) {
  Page& used = at(page);
  if (--used.users > 0) return;
  if (used.is_in_tree) {
    ++only_in_tree_;
  } else {
    free_.push_back(page);
  }
}

bool CacheBook::give_up_one() {
  auto removed = tree_.remove_oldest([&](PageId page) { return at(page).users == 0; });
  if (!removed) return false;
  at(removed->page).is_in_tree = false;
  --only_in_tree_;
  free_.push_back(removed->page);
  if (second_tier_.has && !second_tier_.has(removed->tokens)) {
    orders_.push_back({PageOrder::Kind::spill, removed->page, -1, {}});
    spilled_.push_back(std::move(removed->tokens));
  }
  return true;
}

void CacheBook::give_up_all() {
  while (give_up_one()) {
  }
}

PageId CacheBook::take() {
  require(!free_.empty() || give_up_one(), "no page of the latent caches is free");
  const PageId page = free_.back();
  free_.pop_back();
  use(page);
  return page;
}

std::optional<PageId> CacheBook::grow() {
  if (available() == 0) return std::nullopt;
  return take();
}

/// Whole pages behind those that the tree had, as far as the second tier has them.
void CacheBook::load_more(std::span<const std::int32_t> tokens, PageGrant& grant) {
  const auto positions = static_cast<std::size_t>(page_positions_);
  while ((grant.pages.size() + 1) * positions < tokens.size()) {
    const auto prefix = tokens.first((grant.pages.size() + 1) * positions);
    std::optional<std::vector<std::byte>> bytes = second_tier_.load(prefix);
    if (!bytes) return;
    const PageId page = take();
    orders_.push_back({PageOrder::Kind::fill, page, -1, std::move(*bytes)});
    grant.pages.push_back(page);
    remember(prefix, grant.pages);
    grant.held += page_positions_;
  }
}

std::optional<PageGrant> CacheBook::admit(std::span<const std::int32_t> tokens, bool shares) {
  const std::int64_t needed =
      (static_cast<std::int64_t>(tokens.size()) + page_positions_ - 1) / page_positions_;
  PageGrant grant;
  PrefixMatch match;
  if (shares && shares_) match = tree_.find(tokens.first(tokens.size() - 1));
  grant.pages = match.pages;
  grant.held = static_cast<std::int64_t>(match.pages.size()) * page_positions_;
  for (const PageId page : grant.pages) use(page);
  if (needed - static_cast<std::int64_t>(grant.pages.size()) > available()) {
    release(grant.pages);
    return std::nullopt;
  }
  const std::size_t shared = grant.pages.size();
  if (shares && shares_ && second_tier_.load) load_more(tokens, grant);
  if (match.partial >= 0 && grant.pages.size() == shared) {
    use(match.partial);  // not to be given up before it is copied
    if (available() > 0) {
      const PageId page = take();
      orders_.push_back({PageOrder::Kind::copy, page, match.partial, {}});
      grant.pages.push_back(page);
      grant.held += match.partial_tokens;
    }
    drop_use(match.partial);
  }
  while (static_cast<std::int64_t>(grant.pages.size()) < needed) grant.pages.push_back(take());
  return grant;
}

void CacheBook::remember(std::span<const std::int32_t> tokens, std::span<const PageId> pages) {
  if (!shares_) return;
  for (const PageId page : tree_.insert(tokens, pages, false)) at(page).is_in_tree = true;
}

}  // namespace fathom
