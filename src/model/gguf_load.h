#pragma once

#include "io/gguf.h"
#include "model/load.h"

namespace fathom {

/// The model of a GGUF file, mapped, for inference. Matrices stay where and as they are stored, quantised
/// ones too, and must not be written to; routed experts are views into their merged tensors. Norms, routers
/// and biases become f32.
///
/// Where kv_b_proj is stored in halves they are joined in memory (model/gguf_halves.h); of a file that has
/// both, the whole matrix is taken. MTP modules that the metadata announce and the file lacks are left out.
/// The modules' own copies of embedding and head are passed over. A router without `exp_probs_b` has biases
/// of zero, a module without a head norm of its own takes the model's.
///
/// Throws `Error` naming the file and the tensor when one is missing, has no place in the model, or is of
/// another shape or type than the config needs.
LoadedModel load_gguf_model(const GgufFile& file);

}  // namespace fathom
