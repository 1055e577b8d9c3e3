#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "infer/cache_options.h"
#include "infer/prefix_tree.h"

namespace fathom {

/// What a rank does to its pages, in the order in which it was decided.
struct PageOrder {
  enum class Kind : std::uint8_t {
    copy,   // page := source
    fill,   // page := bytes
    spill,  // its bytes go to the leader, before others use the page
  };
  Kind kind = Kind::copy;
  PageId page = 0;
  PageId source = -1;
  std::vector<std::byte> bytes;
};

/// The pages that a sequence gets.
struct PageGrant {
  std::vector<PageId> pages;
  std::int64_t held = 0;  // of its tokens: their latents are in the pages

  bool operator==(const PageGrant&) const = default;
};

/// Keeps count of one rank's pages: which are free, which sequences have, and which only the tree of prefixes
/// keeps, to be given up, least recently used first, when somebody needs pages. Bookkeeping only: the rank
/// itself obeys orders.
///
/// Pages are shared whole. They are never written to again; where a text leaves a shared page in the middle
/// of it, a copy is made at once, as it will be written to.
class CacheBook {
 public:
  explicit CacheBook(const CacheOptions& options);

  /// Pages that are free, or would be if prefixes were given up.
  [[nodiscard]] std::int64_t available() const;
  /// Pages that sequences have.
  [[nodiscard]] std::int64_t in_use() const { return capacity_ - available(); }
  /// New pages that a sequence of these tokens would take.
  [[nodiscard]] std::int64_t pages_for(std::span<const std::int32_t> tokens) const;

  /// Pages for a sequence of these tokens: none where there are not enough. Of its tokens all but the last
  /// may be held already: that one has to be read, to go on from.
  /// @param shares  false: all of them are new, as they will be filled from elsewhere
  std::optional<PageGrant> admit(std::span<const std::int32_t> tokens, bool shares);
  /// One more page.
  std::optional<PageId> grow();
  /// A sequence gives its pages back.
  /// @param tokens  that are in them, to be shared as far as pages are full; none where they must not be
  void release(std::span<const PageId> pages, std::span<const std::int32_t> tokens = {});
  /// What a sequence has in its pages may be shared from now on, as far as pages are full. Whoever uses a
  /// page uses all that come before it, so that what nobody uses can always be given up from the end: hence
  /// nothing is shared behind a page that the tree has from somebody else, until the sequence ends.
  void remember(std::span<const std::int32_t> tokens, std::span<const PageId> pages);

  /// Where prefixes that are given up go, and may come back from.
  struct SecondTier {
    /// The content of the page that ends these tokens, if it is there.
    std::function<std::optional<std::vector<std::byte>>(std::span<const std::int32_t>)> load;
    /// Whether it is; then it is not spilled again.
    std::function<bool(std::span<const std::int32_t>)> has;
  };
  void set_second_tier(SecondTier tier) { second_tier_ = std::move(tier); }
  /// Gives up all prefixes that nobody uses.
  void give_up_all();

  /// Orders since the last call.
  std::vector<PageOrder> take_orders() { return std::exchange(orders_, {}); }
  /// The texts of pages to spill since the last call, in the order of those orders.
  std::vector<std::vector<std::int32_t>> take_spilled() { return std::exchange(spilled_, {}); }

 private:
  struct Page {
    std::int32_t users = 0;  // sequences
    bool is_in_tree = false;
  };

  Page& at(PageId page) { return pages_[static_cast<std::size_t>(page)]; }
  void use(PageId page);
  PageId take();
  void drop_use(PageId page);
  bool give_up_one();
  void load_more(std::span<const std::int32_t> tokens, PageGrant& grant);

  std::int64_t capacity_;
  bool shares_;
  std::int64_t page_positions_;
  PrefixTree tree_;
  std::vector<Page> pages_;
  std::vector<PageId> free_;       // the next one last
  std::int64_t only_in_tree_ = 0;  // pages that no sequence uses
  SecondTier second_tier_;
  std::vector<PageOrder> orders_;
  std::vector<std::vector<std::int32_t>> spilled_;
};

}  // namespace fathom
