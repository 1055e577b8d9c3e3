#include "io/gguf_writer.h"

#include <array>
#include <cstddef>
#include <span>
#include <system_error>

#include "base/error.h"
#include "io/gguf.h"

namespace fathom {

GgufWriter::GgufWriter(const std::filesystem::path& path, const GgufMetadata& metadata,
                       const std::vector<StoredTensor>& tensors, std::uint64_t max_part_bytes) {
  require(!tensors.empty(), "{}: a model without tensors", path.string());
  std::uint64_t part_bytes = 0;
  for (const StoredTensor& tensor : tensors) {
    GgufTensor entry{tensor.name, tensor.shape, &gguf_type_of(tensor.dtype), 0, 0};
    try {
      entry.bytes = gguf_tensor_bytes(entry.shape, *entry.type);
    } catch (const Error& error) {
      fail("{}: tensor {}: {}", path.string(), printable(tensor.name), error.what());
    }
    if (parts_.empty() ||
        (max_part_bytes > 0 && part_bytes > 0 && part_bytes + entry.bytes > max_part_bytes)) {
      parts_.emplace_back();
      part_bytes = 0;
    }
    part_bytes += entry.bytes;
    GgufHeader& header = parts_.back().header;
    places_.try_emplace(tensor.name, Place{parts_.size() - 1, header.tensors.size()});
    header.tensors.push_back(std::move(entry));
  }
  const auto count = static_cast<std::int64_t>(parts_.size());
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    Part& part = parts_[i];
    part.path = path;
    if (i == 0) part.header.metadata = metadata;
    for (const std::string_view key : {"split.no", "split.count", "split.tensors.count"})
      part.header.metadata.remove(key);
    if (count > 1) {
      part.path.replace_filename(gguf_part_name(path.stem().string(), static_cast<std::int64_t>(i), count));
      part.header.metadata.set("split.no", static_cast<std::uint16_t>(i));
      part.header.metadata.set("split.count", static_cast<std::uint16_t>(count));
      part.header.metadata.set("split.tensors.count", static_cast<std::int32_t>(tensors.size()));
    }
    part.incomplete = part.header.tensors.size();
  }
  require(count <= UINT16_MAX, "{}: {} parts, more than GGUF can have; make them larger", path.string(),
          count);
  if (path.has_parent_path()) create_folders(path.parent_path());
  file_of(parts_.front());  // what cannot be written to is reported before any work is done
}

AtomicFile& GgufWriter::file_of(Part& part) {
  if (!part.file) {
    const std::string header = serialize_gguf_header(part.header, part.path.string());
    part.file = std::make_unique<AtomicFile>(part.path);
    part.file->write(header);
  }
  return *part.file;
}

void GgufWriter::write(std::string_view name, const Tensor& rows) {
  const auto found = places_.find(name);
  require(found != places_.end(), "{}: tensor {} is not part of the file", parts_.front().path.string(),
          printable(name));
  Place& place = found->second;
  Part& part = parts_[place.part];
  AtomicFile& file = file_of(part);
  const GgufTensor& tensor = part.header.tensors[place.index];
  Shape expected = tensor.shape;
  if (!expected.empty() && !rows.shape().empty()) expected.front() = rows.dim(0);
  require(rows.shape() == expected && rows.dtype() == tensor.type->dtype &&
              rows.byte_size() <= tensor.bytes - place.written,
          "{}: tensor {}: rows {} of {} do not fit into what is left of {} of {}", part.path.string(),
          printable(name), shape_text(rows.shape()), dtype_name(rows.dtype()), shape_text(tensor.shape),
          tensor.type->name);
  file.write_at(tensor.offset + place.written, rows.bytes());
  place.written += rows.byte_size();
  if (place.written == tensor.bytes && rows.byte_size() > 0 && --part.incomplete == 0) seal(part);
}

/// Pads the last tensor to the alignment, as other writers do.
void GgufWriter::seal(Part& part) {
  constexpr std::uint64_t kMostPadding = 4096;
  std::array<std::byte, kMostPadding> zeros{};
  const GgufValue* given = part.header.metadata.find(kGgufAlignmentKey);
  const std::uint64_t alignment =
      given == nullptr ? kGgufDefaultAlignment : static_cast<std::uint64_t>(integer_of(*given).value());
  const std::uint64_t padding = (alignment - part.file->size() % alignment) % alignment;
  part.file->write(std::span(zeros).first(std::min(padding, kMostPadding)));
  part.file->seal();
}

void GgufWriter::commit() {
  for (const auto& [name, place] : places_) {
    const GgufTensor& tensor = parts_[place.part].header.tensors[place.index];
    require(place.written == tensor.bytes, "{}: tensor {} was not written whole",
            parts_[place.part].path.string(), printable(name));
  }
  for (Part& part : parts_) file_of(part).seal();
  std::error_code error;
  // An older first part would give the new parts old meanings while they are renamed.
  if (parts_.size() > 1) std::filesystem::remove(parts_.front().path, error);
  require(!error, "{}: cannot replace: {}", parts_.front().path.string(), error.message());
  for (auto part = parts_.rbegin(); part != parts_.rend(); ++part) part->file->commit();
}

std::vector<std::filesystem::path> GgufWriter::paths() const {
  std::vector<std::filesystem::path> paths;
  for (const Part& part : parts_) paths.push_back(part.path);
  return paths;
}

}  // namespace fathom
