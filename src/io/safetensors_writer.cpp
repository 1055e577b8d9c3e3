#include "io/safetensors_writer.h"

#include <algorithm>
#include <cstddef>
#include <span>

#include "base/error.h"
#include "numerics/convert.h"

namespace fathom {

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     const std::vector<StoredTensor>& tensors, TensorMetadata metadata)
    : file_(path) {
  SafetensorsHeader header = lay_out_safetensors(tensors, std::move(metadata), path.string());
  file_.write(serialize_safetensors_header(header));
  for (TensorEntry& entry : header.entries) missing_.emplace(entry.name, entry);
}

void SafetensorsWriter::write(std::string_view name, const Tensor& values) {
  const auto found = missing_.find(name);
  require(found != missing_.end(), "{}: tensor {} is not part of the file, or was written before",
          path().string(), printable(name));
  const TensorEntry& entry = found->second;
  require(values.shape() == entry.shape, "{}: tensor {} is {}, the file has room for {}", path().string(),
          printable(name), shape_text(values.shape()), shape_text(entry.shape));
  const DType stored = *dtype_from_name(entry.dtype);
  if (values.dtype() == stored) {
    file_.write_at(entry.offset, values.bytes());
  } else {
    require(is_plain_float(stored) && (is_plain_float(values.dtype()) || is_block_quantized(values.dtype())),
            "{}: tensor {} is of type {}, the file stores {}", path().string(), printable(name),
            dtype_name(values.dtype()), entry.dtype);
    write_converted(entry, values, stored);
  }
  missing_.erase(found);
}

void SafetensorsWriter::write_converted(const TensorEntry& entry, const Tensor& values, DType stored) {
  constexpr std::int64_t kPiece = 1 << 16;  // elements converted at a time, whole blocks of any type
  std::vector<float> wide(kPiece);
  std::vector<std::byte> narrow(kPiece * dtype_size(stored));
  const auto* source = static_cast<const std::byte*>(values.data());
  for (std::int64_t at = 0; at < values.size(); at += kPiece) {
    const std::int64_t count = std::min(kPiece, values.size() - at);
    const auto begin = static_cast<std::size_t>(at);
    widen_to_f32(source + stored_bytes(values.dtype(), at), values.dtype(), count, wide.data());
    require(narrow_from_f32(wide.data(), count, stored, narrow.data()),
            "{}: tensor {} holds a value too large for {}; store it as BF16 or F32", path().string(),
            printable(entry.name), entry.dtype);
    file_.write_at(entry.offset + begin * dtype_size(stored),
                   std::span(narrow).first(static_cast<std::size_t>(count) * dtype_size(stored)));
  }
}

void SafetensorsWriter::seal() {
  require(complete(), "{}: tensor {} was not written", path().string(),
          complete() ? "" : printable(missing_.begin()->first));
  file_.seal();
}

void SafetensorsWriter::commit() {
  seal();
  file_.commit();
}

}  // namespace fathom
