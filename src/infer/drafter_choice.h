#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "infer/drafter.h"
#include "infer/text_model.h"
#include "model/transformer.h"

namespace fathom {

enum class DrafterKind : std::uint8_t {
  automatic,  // mtp where the model has a module, else ngram
  off,
  mtp,
  ngram,
  model
};
/// "auto", "off", "mtp", "ngram" or "model"; throws `UsageError` for another name.
DrafterKind drafter_kind_of(std::string_view name);

/// Who is to draft, as a user says it.
struct DrafterChoice {
  DrafterKind kind = DrafterKind::automatic;
  std::string draft_model;  // a folder, as `load_text_model` takes it; automatic takes it where it is given
};

/// A drafter and what it needs.
class ChosenDrafter {
 public:
  /// Loads the draft model where one is wanted. Keeps a reference to `transformer`.
  /// @param positions  longest text
  /// Throws `Error` where the model has no MTP module and one is asked for, and where a draft model's
  /// vocabulary is another one; `UsageError` where choice and draft model do not go together.
  ChosenDrafter(const DrafterChoice& choice, const TextModel& model, const Transformer& transformer,
                std::int64_t positions);

  /// Null: no drafts.
  [[nodiscard]] const Drafter* get() const { return drafter_.get(); }

 private:
  std::unique_ptr<TextModel> draft_model_;
  std::unique_ptr<Transformer> draft_transformer_;
  std::unique_ptr<Drafter> drafter_;
};

}  // namespace fathom
