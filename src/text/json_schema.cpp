#include "text/json_schema.h"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/ordered_json.h"
#include "text/grammar_automaton.h"
#include "text/json_rules.h"
#include "text/json_schema_keywords.h"
#include "text/json_schema_merge.h"
#include "text/json_schema_pointer.h"
#include "text/json_schema_scalars.h"
#include "text/json_text.h"

namespace fathom {
namespace {

using Parts = std::vector<GrammarExpr>;
using Arcs = std::vector<GrammarExpr::Arc>;

constexpr std::size_t kMaxSchemaBytes = 1U << 20U;
constexpr int kSchemaNesting = 150;
constexpr int kMaxCombinationNesting = 40;
constexpr std::size_t kMaxSchemas = 20'000;
constexpr std::size_t kMaxCombinations = 400;
constexpr std::size_t kMaxItems = 10'000;
/// Characters of a name that others must differ from.
constexpr std::size_t kLongestName = 256;

constexpr std::array kTypes = {"object", "array", "string", "integer", "number", "boolean", "null"};

class SchemaCompiler {
 public:
  SchemaCompiler(const OrderedJson& document, std::string where, const JsonSchemaOptions& options)
      : document_(document), where_(std::move(where)), options_(options) {}

  /// @param schema  of the document, or made of its parts
  Grammar run(const OrderedJson& schema) {
    const std::size_t root = rules_.add("root", where_);
    rules_.set_body(root, value(schema, where_, 0));
    while (!pending_.empty()) {
      const Pending next = pending_.back();
      pending_.pop_back();
      rules_.set_body(next.rule, value(*next.schema, next.path, 0));
    }
    return rules_.take();
  }

 private:
  struct Pending {
    std::size_t rule = 0;
    const OrderedJson* schema = nullptr;
    std::string path;
  };

  GrammarExpr value(const OrderedJson& schema, const std::string& path, int depth) {
    require(++schemas_ <= kMaxSchemas, "{}: more than {} schemas, when all combinations are counted", where_,
            kMaxSchemas);
    require(depth <= kSchemaNesting,
            "{}: schemas nested too deeply; does a $ref with other keywords beside it lead back to itself?",
            where_);
    if (schema == true) return rules_.any_value();
    if (schema == false) return expr::never();
    require(schema.is_object(), "{}: a schema must be an object, true or false", path);
    check_keywords(schema, path);
    std::vector<std::string> keywords;
    for (const auto& [keyword, unused] : schema.items())
      if (is_used(keyword)) keywords.push_back(keyword);
    if (keywords.size() == 1) {
      const std::string& only = keywords.front();
      if (only == "$ref") return expr::rule_ref(rule_of(schema[only], path));
      if (only == "anyOf" || only == "oneOf") return any_of(schema[only], path + "/" + only, depth);
    }
    const bool is_plain = std::ranges::none_of(keywords, [](const std::string& keyword) {
      return kind_of_keyword(keyword) == SchemaKeyword::kCombination;
    });
    if (is_plain) return plain_value(schema, path, depth);
    Parts parts;
    for (const OrderedJson& plain : without_combinations(schema, path, 0))
      if (plain != false) parts.push_back(plain_value(plain, path, depth));
    return expr::choice(std::move(parts));
  }

  /// Whether a keyword counts at all.
  [[nodiscard]] static bool is_used(const std::string& keyword) {
    const SchemaKeyword kind = kind_of_keyword(keyword);
    return kind == SchemaKeyword::kEnforced || kind == SchemaKeyword::kCombination;
  }

  void refuse(const std::string& path, std::string_view keyword, std::string_view why) const {
    if (options_.ignores_unenforceable) return;
    fail("{}: the keyword {} cannot be enforced{}{}: leave it out, or have such keywords ignored", path,
         printable(keyword), why.empty() ? "" : ": ", why);
  }

  void check_keywords(const OrderedJson& schema, const std::string& path) const {
    for (const auto& [keyword, unused] : schema.items())
      if (kind_of_keyword(keyword) == SchemaKeyword::kOther) refuse(path, keyword, "");
    if (const auto unique = schema.find("uniqueItems"); unique != schema.end() && *unique != false)
      refuse(path, "uniqueItems", "");
  }

  GrammarExpr any_of(const OrderedJson& list, const std::string& path, int depth) {
    require(list.is_array() && !list.empty(), "{}: must be a list of schemas", path);
    Parts parts;
    for (std::size_t i = 0; i < list.size(); ++i)
      parts.push_back(value(list[i], fmt::format("{}/{}", path, i), depth + 1));
    return expr::choice(std::move(parts));
  }

  std::size_t rule_of(const OrderedJson& reference, const std::string& path) {
    const OrderedJson& target = find_reference(document_, reference, path);
    const auto& name = reference.get_ref<const std::string&>();
    const auto [found, is_new] = references_.try_emplace(name, 0);
    if (is_new) {
      const std::string target_path =
          where_ + (name == "#" ? "" : name.substr(name.starts_with('#') ? 1 : 0));
      found->second = rules_.add(name, target_path);
      pending_.push_back({found->second, &target, target_path});
    }
    return found->second;
  }

  /// Schemas of which at least one is satisfied where `schema` is, without combinations on top.
  std::vector<OrderedJson> without_combinations(const OrderedJson& schema, const std::string& path,
                                                int depth) {
    require(depth <= kMaxCombinationNesting, "{}: combinations of schemas nested too deeply, or in a circle",
            path);
    if (!schema.is_object()) return {schema};
    check_keywords(schema, path);
    OrderedJson plain = OrderedJson::object();
    for (const auto& [keyword, part] : schema.items())
      if (kind_of_keyword(keyword) == SchemaKeyword::kEnforced) plain[keyword] = part;
    std::vector<OrderedJson> all = {with_enum(std::move(plain))};
    const auto combine = [&](const std::vector<OrderedJson>& others) {
      std::vector<OrderedJson> combined;
      for (const OrderedJson& one : all)
        for (const OrderedJson& other : others) {
          require(++combinations_ <= kMaxCombinations, "{}: more than {} combinations of schemas", path,
                  kMaxCombinations);
          combined.push_back(merge_schemas(one, other, path));
        }
      all = std::move(combined);
    };
    if (const auto reference = schema.find("$ref"); reference != schema.end())
      combine(without_combinations(find_reference(document_, *reference, path), path, depth + 1));
    if (const auto list = schema.find("allOf"); list != schema.end()) {
      require(list->is_array(), "{}/allOf: must be a list of schemas", path);
      for (const OrderedJson& part : *list) combine(without_combinations(part, path + "/allOf", depth + 1));
    }
    for (const char* keyword : {"anyOf", "oneOf"})
      if (const auto list = schema.find(keyword); list != schema.end()) {
        require(list->is_array() && !list->empty(), "{}/{}: must be a list of schemas", path, keyword);
        std::vector<OrderedJson> alternatives;
        for (const OrderedJson& part : *list) {
          const auto some = without_combinations(part, path + "/" + keyword, depth + 1);
          alternatives.insert(alternatives.end(), some.begin(), some.end());
        }
        combine(alternatives);
      }
    return all;
  }

  /// `const` as `enum`.
  static OrderedJson with_enum(OrderedJson schema) {
    const auto found = schema.find("const");
    if (found == schema.end()) return schema;
    const OrderedJson only = OrderedJson::array({*found});
    schema.erase("const");
    return merge_schemas(schema, {{"enum", only}}, "const");
  }

  GrammarExpr plain_value(const OrderedJson& schema, const std::string& path, int depth) {
    if (schema.contains("const")) return plain_value(with_enum(schema), path, depth);
    if (schema.contains("enum")) return enumerated(schema, path);
    Parts parts;
    const std::vector<std::string> types = types_of(schema, path);
    for (const std::string& type : types) {
      // Every integer is a number.
      if (type == "integer" && std::ranges::find(types, "number") != types.end()) continue;
      parts.push_back(value_of_type(type, schema, path, depth));
    }
    return expr::choice(std::move(parts));
  }

  /// The types that are named; else the ones that the keywords are about; else all.
  std::vector<std::string> types_of(const OrderedJson& schema, const std::string& path) const {
    std::vector<std::string> types;
    if (const auto named = schema.find("type"); named != schema.end()) {
      const OrderedJson list = named->is_array() ? *named : OrderedJson::array({*named});
      for (const OrderedJson& type : list) {
        require(
            type.is_string() && std::ranges::find(kTypes, type.get_ref<const std::string&>()) != kTypes.end(),
            "{}/type: {} is not a type of JSON", path, printable(type.dump()));
        types.push_back(type);
      }
      return types;
    }
    for (const char* type : kTypes)
      if (type != std::string_view("integer") && has_keyword_about(type, schema)) types.emplace_back(type);
    if (types.empty()) types.assign(kTypes.begin(), kTypes.end());
    return types;
  }

  static bool has_keyword_about(std::string_view type, const OrderedJson& schema) {
    const auto has = [&](std::initializer_list<const char*> keywords) {
      return std::ranges::any_of(keywords, [&](const char* keyword) { return schema.contains(keyword); });
    };
    if (type == "object")
      return has({"properties", "required", "additionalProperties", "minProperties", "maxProperties",
                  "propertyNames", "patternProperties"});
    if (type == "array") return has({"items", "prefixItems", "minItems", "maxItems", "additionalItems"});
    if (type == "string") return has({"minLength", "maxLength", "pattern", "format"});
    if (type == "number")
      return has({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"});
    return false;
  }

  GrammarExpr value_of_type(std::string_view type, const OrderedJson& schema, const std::string& path,
                            int depth) {
    const UnenforceableKeyword unenforceable = [&](std::string_view keyword, std::string_view why) {
      refuse(path, keyword, why);
    };
    if (type == "null") return expr::literal("null");
    if (type == "boolean") return expr::choice({expr::literal("true"), expr::literal("false")});
    if (type == "integer" || type == "number")
      return schema_number(schema, type == "integer", path, rules_, unenforceable);
    if (type == "string") return schema_string(schema, path, rules_, unenforceable);
    if (type == "array") return in_rule_of_its_own(path, array(schema, path, depth));
    return in_rule_of_its_own(path, object(schema, path, depth));
  }

  GrammarExpr in_rule_of_its_own(const std::string& path, GrammarExpr body) {
    if (body.is_never() || body.kind == GrammarExpr::Kind::kRule) return body;
    return expr::rule_ref(rules_.add(path, path, std::move(body)));
  }

  /// Values listed that satisfy what else the schema says.
  GrammarExpr enumerated(const OrderedJson& schema, const std::string& path) {
    require(schema["enum"].is_array(), "{}/enum: must be a list of values", path);
    OrderedJson rest = schema;
    rest.erase("enum");
    std::optional<GrammarAutomaton> others;
    if (!rest.empty()) {
      Grammar grammar = SchemaCompiler(document_, where_, options_).run(rest);
      if (grammar.rules.front().body.is_never()) return expr::never();
      others.emplace(grammar);
    }
    Parts parts;
    for (const OrderedJson& one : schema["enum"]) {
      const std::string text = one.dump();
      if (!others || others->stands_for(text)) parts.push_back(expr::literal(text));
    }
    return expr::choice(std::move(parts));
  }

  std::size_t count(const OrderedJson& schema, const char* keyword, std::size_t otherwise,
                    const std::string& path) {
    return schema_count(schema, keyword, path).value_or(otherwise);
  }

  GrammarExpr array(const OrderedJson& schema, const std::string& path, int depth) {
    constexpr std::size_t kEndless = ~std::size_t{0};
    const OrderedJson none = OrderedJson::array();
    const OrderedJson* prefix = &none;
    const OrderedJson* others = nullptr;
    if (const auto found = schema.find("prefixItems"); found != schema.end()) prefix = &*found;
    if (const auto found = schema.find("items"); found != schema.end())
      (found->is_array() ? prefix : others) = &*found;
    if (const auto found = schema.find("additionalItems"); found != schema.end() && others == nullptr)
      others = &*found;
    require(prefix->is_array(), "{}/prefixItems: must be a list of schemas", path);

    std::size_t least = count(schema, "minItems", 0, path);
    std::size_t most = count(schema, "maxItems", kEndless, path);
    Parts labels = {expr::empty_text(), expr::sequence({expr::literal(","), json_space()})};
    for (std::size_t i = 0; i < prefix->size(); ++i)
      labels.push_back(expr::sequence(
          {value((*prefix)[i], fmt::format("{}/prefixItems/{}", path, i), depth + 1), json_space()}));
    // As for properties: where nothing is said of further items there are none, unless so many are wanted.
    const bool is_closed = others == nullptr && !prefix->empty() && least <= prefix->size();
    GrammarExpr other = is_closed           ? expr::never()
                        : others == nullptr ? rules_.any_value()
                                            : value(*others, path + "/items", depth + 1);
    if (other.is_never()) most = std::min(most, prefix->size());
    // Nothing may stand where an item can be no value.
    for (std::size_t i = 0; i < prefix->size(); ++i)
      if (labels[i + 2].is_never()) most = std::min(most, i);
    if (least > most) return expr::never();
    if (labels.size() == 2 && least == 0 && most == kEndless) return array_of(other);
    labels.push_back(expr::sequence({std::move(other), json_space()}));

    // Node 2i: before item i, node 2i + 1: after its comma; the last one: the end.
    const std::size_t chain = most == kEndless ? std::max({least, prefix->size(), std::size_t{1}}) : most;
    require(chain <= kMaxItems, "{}: more than {} items to count", path, kMaxItems);
    const std::size_t end = 2 * chain + 2;
    Arcs arcs;
    for (std::size_t i = 0; i <= chain; ++i) {
      if (i >= least) arcs.push_back({2 * i, end, 0});
      if (i == chain && most != kEndless) break;
      const std::size_t label = std::min(i, prefix->size()) + 2;
      arcs.push_back({2 * i, 2 * i + 1, i == 0 ? std::size_t{0} : std::size_t{1}});
      arcs.push_back({2 * i + 1, i == chain ? 2 * i : 2 * i + 2, label});
    }
    return expr::sequence({expr::literal("["), json_space(),
                           expr::graph(end + 1, std::move(labels), std::move(arcs)), expr::literal("]")});
  }

  GrammarExpr array_of(GrammarExpr item) {
    return item.kind == GrammarExpr::Kind::kRule && item.rule == rules_.any_value().rule
               ? rules_.any_array()
               : json_list('[', std::move(item), ']');
  }

  GrammarExpr object(const OrderedJson& schema, const std::string& path, int depth) {
    const OrderedJson none = OrderedJson::object();
    const auto part = [&](const char* keyword) -> const OrderedJson& {
      const auto found = schema.find(keyword);
      return found == schema.end() ? none : *found;
    };
    const OrderedJson& properties = part("properties");
    require(properties.is_object(), "{}/properties: must be an object", path);
    std::set<std::string> required;
    if (const auto list = schema.find("required"); list != schema.end()) {
      require(list->is_array(), "{}/required: must be a list of names", path);
      for (const OrderedJson& name : *list) {
        require(name.is_string(), "{}/required: must be a list of names", path);
        required.insert(name.get<std::string>());
      }
    }
    Members members;
    for (const auto& [name, member] : properties.items()) {
      require(name.size() <= kLongestName, "{}/properties: a name is longer than {} bytes", path,
              kLongestName);
      GrammarExpr of_member =
          value(member, fmt::format("{}/properties/{}", path, printable(name)), depth + 1);
      const bool is_required = required.erase(name) > 0;
      if (of_member.is_never() && is_required) return expr::never();
      members.names.insert(name);
      if (of_member.is_never()) continue;
      members.list.push_back(
          {json_member(expr::literal(json_quoted(name)), std::move(of_member)), is_required});
    }
    add_others(schema, path, depth, required, members);
    if (members.is_impossible) return expr::never();
    count_members(schema, path, members);
    return members_grammar(members);
  }

  /// What stands between the braces.
  struct Members {
    struct Member {
      GrammarExpr text;
      bool is_required = false;
    };
    std::vector<Member> list;           // in order
    std::set<std::string> names;        // that have a schema of their own
    GrammarExpr other = expr::never();  // any number of these follow
    bool is_impossible = false;
    bool needs_one = false;
    std::optional<std::size_t> most_others;
  };

  /// Members that are not named under `properties`: first those that are required nevertheless.
  void add_others(const OrderedJson& schema, const std::string& path, int depth,
                  const std::set<std::string>& required, Members& members) {
    GrammarExpr of_others = expr::never();
    const auto additional = schema.find("additionalProperties");
    const auto patterns = schema.find("patternProperties");
    const bool has_patterns = patterns != schema.end() && !patterns->empty();
    if (additional != schema.end()) {
      of_others = value(*additional, path + "/additionalProperties", depth + 1);
    } else if (members.names.empty() || !required.empty()) {
      of_others = rules_.any_value();
    }
    members.is_impossible = of_others.is_never() && !required.empty();
    for (const std::string& name : required) {
      require(name.size() <= kLongestName, "{}/required: a name is longer than {} bytes", path, kLongestName);
      members.list.push_back({json_member(expr::literal(json_quoted(name)), of_others), true});
    }
    if (additional == schema.end() && !required.empty()) of_others = expr::never();
    GrammarExpr key = expr::never();
    members.names.insert(required.begin(), required.end());
    const auto key_names = schema.find("propertyNames");
    if (has_patterns) {
      if (patterns->size() == 1 && members.names.empty() &&
          (additional == schema.end() || *additional == false)) {
        const auto only = patterns->items().begin();
        key = schema_string({{"pattern", only.key()}}, path + "/patternProperties", rules_, [](auto...) {});
        of_others = value(only.value(), path + "/patternProperties", depth + 1);
      } else {
        refuse(path, "patternProperties", "only one pattern, and no other properties, can be");
      }
    }
    if (key.is_never() && key_names != schema.end() && *key_names != true) {
      if (members.names.empty()) {
        OrderedJson names = *key_names;
        if (names.is_object() && !names.contains("type")) names["type"] = "string";
        key = value(names, path + "/propertyNames", depth + 1);
        if (key.is_never()) of_others = expr::never();
      } else {
        refuse(path, "propertyNames", "only without other properties it can be");
      }
    }
    if (of_others.is_never()) return;
    if (key.is_never()) key = members.names.empty() ? rules_.any_string() : json_string_except(members.names);
    members.other = json_member(std::move(key), std::move(of_others));
  }

  void count_members(const OrderedJson& schema, const std::string& path, Members& members) const {
    const auto least = schema_count(schema, "minProperties", path);
    const auto most = schema_count(schema, "maxProperties", path);
    const auto required =
        static_cast<std::size_t>(std::ranges::count_if(members.list, &Members::Member::is_required));
    if (least && *least > required) {
      members.needs_one = required == 0;
      if (*least > 1) refuse(path, "minProperties", "only 1, or as many as are required, can be");
    }
    if (!most) return;
    if (*most < required) {
      members.is_impossible = true;
    } else if (members.list.empty()) {
      members.most_others = *most;
    } else if (*most < members.list.size() || !members.other.is_never()) {
      refuse(path, "maxProperties", "only of objects whose members are all named or all not can it be");
    }
  }

  GrammarExpr members_grammar(const Members& members) {
    if (members.is_impossible) return expr::never();
    const std::size_t count = members.list.size();
    const bool has_others = !members.other.is_never() && members.most_others != std::size_t{0};
    if (count == 0 && has_others && !members.needs_one && !members.most_others) return map_of(members.other);
    // For each member i: nothing stands yet (3i); something does (3i + 1); it comes next (3i + 2).
    const std::size_t others = members.most_others.value_or(1);
    require(others <= kMaxItems, "{}: more than {} properties to count", where_, kMaxItems);
    const std::size_t steps = count + (has_others ? others : 0);
    const std::size_t end = 3 * steps + 2;
    Parts labels = {expr::empty_text(), expr::sequence({expr::literal(","), json_space()})};
    Arcs arcs;
    for (std::size_t i = 0; i < steps; ++i) {
      const bool is_other = i >= count;
      if (i <= count)
        labels.push_back(expr::sequence({is_other ? members.other : members.list[i].text, json_space()}));
      arcs.push_back({3 * i, 3 * i + 2, 0});
      arcs.push_back({3 * i + 1, 3 * i + 2, 1});
      const bool is_repeated = is_other && !members.most_others;
      arcs.push_back({3 * i + 2, is_repeated ? 3 * i + 1 : 3 * i + 4, labels.size() - 1});
      if (!is_other && members.list[i].is_required) continue;
      arcs.push_back({3 * i, 3 * i + 3, 0});
      arcs.push_back({3 * i + 1, 3 * i + 4, 0});
    }
    if (!members.needs_one) arcs.push_back({3 * steps, end, 0});
    arcs.push_back({3 * steps + 1, end, 0});
    return expr::sequence({expr::literal("{"), json_space(),
                           expr::graph(end + 1, std::move(labels), std::move(arcs)), expr::literal("}")});
  }

  GrammarExpr map_of(const GrammarExpr& member) { return json_list('{', member, '}'); }

  const OrderedJson& document_;
  std::string where_;
  JsonSchemaOptions options_;
  JsonRules rules_;
  std::map<std::string, std::size_t> references_;
  std::vector<Pending> pending_;
  std::size_t schemas_ = 0;
  std::size_t combinations_ = 0;
};

}  // namespace

Grammar json_schema_grammar(std::string_view schema, const std::string& where,
                            const JsonSchemaOptions& options) {
  require(schema.size() <= kMaxSchemaBytes, "{}: the schema is longer than {} bytes", where, kMaxSchemaBytes);
  const OrderedJson document = parse_ordered_json(schema, where);
  Grammar grammar = SchemaCompiler(document, where + "#", options).run(document);
  require(!grammar.rules.front().body.is_never(), "{}: no value satisfies this schema", where);
  return grammar;
}

Grammar json_object_grammar() {
  JsonRules rules;
  const std::size_t root = rules.add("root", "JSON");
  rules.set_body(root, rules.any_object());
  return rules.take();
}

}  // namespace fathom
