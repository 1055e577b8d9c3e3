#include "text/jinja_json.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "text/jinja_operators.h"
#include "text/jinja_repr.h"
#include "text/jinja_text.h"
#include "text/utf8.h"

namespace fathom::jinja {

std::string valid_utf8(const std::string& text) {
  if (is_valid_utf8(text)) return text;
  std::string valid;
  append_as_utf8(text, valid);
  return valid;
}

Value from_json(Budget& budget, const OrderedJson& json) {
  budget.spend();
  switch (json.type()) {
    case OrderedJson::value_t::boolean:
      return Value::boolean(json.get<bool>());
    case OrderedJson::value_t::number_integer:
      return Value::integer(json.get<std::int64_t>());
    case OrderedJson::value_t::number_unsigned: {
      const auto number = json.get<std::uint64_t>();
      if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        fault("the number {} is too large: whole numbers have 64 bits", number);
      return Value::integer(static_cast<std::int64_t>(number));
    }
    case OrderedJson::value_t::number_float:
      return Value::real(json.get<double>());
    case OrderedJson::value_t::string:
      return Value::text(budget, valid_utf8(json.get_ref<const std::string&>()));
    case OrderedJson::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const OrderedJson& item : json) items.push_back(from_json(budget, item));
      return Value::list(budget, std::move(items));
    }
    case OrderedJson::value_t::object: {
      const auto dict = std::make_shared<Dict>(budget);
      for (const auto& [key, value] : json.items())
        dict->set(Value::text(budget, valid_utf8(key)), from_json(budget, value));
      return Value::dict(dict);
    }
    default:
      return Value::none();
  }
}

namespace {

class JsonWriter {
 public:
  JsonWriter(Budget& budget, const JsonStyle& style) : budget_(budget), style_(style), out_(budget) {}

  std::string run(const Value& value) {
    write(value, 0);
    return out_.take();
  }

 private:
  void write(const Value& value, std::size_t depth) {
    const Budget::Level level(budget_);
    budget_.spend();
    switch (value.kind()) {
      case Kind::kNone:
        return out_.append("null");
      case Kind::kBool:
        return out_.append(value.boolean() ? "true" : "false");
      case Kind::kInt:
        return out_.append(std::to_string(value.integer()));
      case Kind::kFloat:
        return out_.append(number(value.real()));
      case Kind::kText:
        return string(value.str());
      case Kind::kList:
      case Kind::kTuple:
        return array(value.items(), depth);
      case Kind::kDict:
        return object(value.dict(), depth);
      default:
        fault("tojson: JSON has no form for a value of type {}", type_name(value));
    }
  }

  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return repr_of_float(value);
  }

  void string(std::string_view text) {
    std::string quoted = "\"";
    quoted.reserve(text.size() + 2);
    for (std::size_t at = 0; at < text.size();) {
      const Character c = character_at(text, at);
      at += c.length;
      Budget::check_text_bytes(quoted.size());
      escape(c, text, quoted);
    }
    quoted += '"';
    out_.append(quoted);
  }

  void escape(const Character& c, std::string_view text, std::string& out) const {
    switch (c.code_point) {
      case '"':
        out += "\\\"";
        return;
      case '\\':
        out += "\\\\";
        return;
      case '\n':
        out += "\\n";
        return;
      case '\r':
        out += "\\r";
        return;
      case '\t':
        out += "\\t";
        return;
      case '\f':
        out += "\\f";
        return;
      case '\b':
        out += "\\b";
        return;
      default:
        break;
    }
    const bool is_ascii = c.code_point >= 0x20 && c.code_point < 0x7F;
    if (is_ascii || (!style_.ensure_ascii && c.code_point >= 0x20)) {
      out += text.substr(c.begin, c.length);
    } else if (c.code_point < 0x10000) {
      out += fmt::format("\\u{:04x}", c.code_point);
    } else {
      const std::uint32_t bits = c.code_point - 0x10000;
      out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (bits >> 10U), 0xDC00 + (bits & 0x3FFU));
    }
  }

  void new_line(std::size_t depth) {
    if (!style_.indent) return;
    out_.append("\n");
    for (std::size_t i = 0; i < depth; ++i) out_.append(*style_.indent);
  }

  void array(const std::vector<Value>& items, std::size_t depth) {
    if (items.empty()) return out_.append("[]");
    out_.append("[");
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_.append(style_.item_separator);
      new_line(depth + 1);
      write(items[i], depth + 1);
    }
    new_line(depth);
    out_.append("]");
  }

  void key(const Value& key) {
    switch (key.kind()) {
      case Kind::kText:
        return string(key.str());
      case Kind::kNone:
        return string("null");
      case Kind::kBool:
        return string(key.boolean() ? "true" : "false");
      case Kind::kInt:
        return string(std::to_string(key.integer()));
      case Kind::kFloat:
        return string(number(key.real()));
      default:
        fault("tojson: a value of type {} cannot be a key of JSON", type_name(key));
    }
  }

  void object(const Dict& dict, std::size_t depth) {
    if (dict.entries().empty()) return out_.append("{}");
    std::vector<const Dict::Entry*> entries;
    for (const Dict::Entry& entry : dict.entries()) entries.push_back(&entry);
    if (style_.sort_keys)
      std::stable_sort(entries.begin(), entries.end(), [&](const Dict::Entry* a, const Dict::Entry* b) {
        return is_less(budget_, a->first, b->first);
      });
    out_.append("{");
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_.append(style_.item_separator);
      new_line(depth + 1);
      key(entries[i]->first);
      out_.append(style_.key_separator);
      write(entries[i]->second, depth + 1);
    }
    new_line(depth);
    out_.append("}");
  }

  Budget& budget_;
  const JsonStyle& style_;
  TextBuilder out_;
};

}  // namespace

std::string to_json(Budget& budget, const Value& value, const JsonStyle& style) {
  return JsonWriter(budget, style).run(value);
}

}  // namespace fathom::jinja
