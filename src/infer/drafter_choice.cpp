#include "infer/drafter_choice.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "infer/answer_builder.h"
#include "infer/lookup_drafter.h"
#include "infer/model_drafter.h"
#include "infer/mtp_drafter.h"

namespace fathom {

DrafterKind drafter_kind_of(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, DrafterKind>, 5> kKinds = {
      {{"auto", DrafterKind::automatic},
       {"off", DrafterKind::off},
       {"mtp", DrafterKind::mtp},
       {"ngram", DrafterKind::ngram},
       {"model", DrafterKind::model}}};
  for (const auto& [known, kind] : kKinds)
    if (name == known) return kind;
  throw UsageError(
      fmt::format("speculate is {}; it must be auto, mtp, ngram, model or off", printable(name)));
}

ChosenDrafter::ChosenDrafter(const DrafterChoice& choice, const TextModel& model,
                             const Transformer& transformer, std::int64_t positions) {
  DrafterKind kind = choice.kind;
  const bool has_folder = !choice.draft_model.empty();
  if (kind == DrafterKind::automatic) {
    kind = has_folder                      ? DrafterKind::model
           : transformer.mtp_modules() > 0 ? DrafterKind::mtp
                                           : DrafterKind::ngram;
  }
  if (has_folder != (kind == DrafterKind::model))
    throw UsageError(has_folder ? "a draft model drafts with --speculate model, and not otherwise"
                                : "--speculate model needs --draft-model FOLDER");
  const std::int64_t with_text = vocabulary_with_text(transformer, model.tokenizer);
  switch (kind) {
    case DrafterKind::automatic:
    case DrafterKind::off:
      return;
    case DrafterKind::mtp:
      require(transformer.mtp_modules() > 0,
              "{}: has no MTP module to draft with: choose --speculate ngram, or give a --draft-model",
              model.folder.string());
      drafter_ = std::make_unique<MtpDrafter>(transformer, with_text);
      return;
    case DrafterKind::ngram:
      drafter_ = std::make_unique<LookupDrafter>();
      return;
    case DrafterKind::model:
      draft_model_ = std::make_unique<TextModel>(load_text_model(choice.draft_model));
      require_same_vocabulary(model.tokenizer, model.folder.string(), draft_model_->tokenizer,
                              draft_model_->folder.string());
      draft_transformer_ =
          std::make_unique<Transformer>(draft_model_->config, draft_model_->weights,
                                        std::min(positions, draft_model_->config.max_position_embeddings));
      drafter_ = std::make_unique<ModelDrafter>(*draft_transformer_, transformer, with_text);
      return;
  }
}

}  // namespace fathom
