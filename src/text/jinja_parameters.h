#pragma once

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "text/jinja_operators.h"
#include "text/jinja_repr.h"

namespace fathom::jinja {

/// The arguments of a call, put beside the parameters of what is called.
class Parameters {
 public:
  /// @param what      is called, for messages
  /// @param names     of all parameters
  /// @param required  so many of them, at the front, must be given
  /// Throws `Fault` for arguments that do not fit.
  Parameters(std::string_view what, const Arguments& arguments, std::initializer_list<std::string_view> names,
             std::size_t required = 0)
      : what_(what), names_(names), values_(names.size()) {
    if (arguments.positional.size() > names.size())
      fault("{} takes {} argument(s), and not {}", what, names.size(), arguments.positional.size());
    for (std::size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
    for (const auto& [name, value] : arguments.named) {
      const auto place = static_cast<std::size_t>(std::ranges::find(names_, name) - names_.begin());
      if (place == names_.size()) fault("{} takes no argument {}", what, repr_of_text(name));
      if (values_[place] != nullptr) fault("{} is given the argument {} twice", what, repr_of_text(name));
      values_[place] = &value;
    }
    for (std::size_t i = 0; i < required; ++i)
      if (values_[i] == nullptr) fault("{} needs the argument {}", what, repr_of_text(names_[i]));
  }

  [[nodiscard]] bool has(std::size_t place) const { return values_[place] != nullptr; }
  /// Whether it is given, and not None.
  [[nodiscard]] bool has_value(std::size_t place) const { return has(place) && !values_[place]->is_none(); }
  [[nodiscard]] const Value& operator[](std::size_t place) const { return *values_[place]; }
  [[nodiscard]] Value value_or(std::size_t place, const Value& otherwise) const {
    return has(place) ? *values_[place] : otherwise;
  }
  [[nodiscard]] bool flag(std::size_t place, bool otherwise) const {
    return has(place) ? is_true(*values_[place]) : otherwise;
  }
  [[nodiscard]] std::int64_t whole(std::size_t place, std::int64_t otherwise) const {
    return has(place) ? whole_number(*values_[place], name(place)) : otherwise;
  }
  /// A text, which must be given.
  [[nodiscard]] const std::string& text(std::size_t place) const {
    const Value& value = *values_[place];
    if (!value.is_text()) fault("{} must be a text, not a value of type {}", name(place), type_name(value));
    return value.str();
  }

 private:
  [[nodiscard]] std::string name(std::size_t place) const {
    return fmt::format("the argument {} of {}", names_[place], what_);
  }

  std::string_view what_;
  std::vector<std::string_view> names_;
  std::vector<const Value*> values_;
};

}  // namespace fathom::jinja
