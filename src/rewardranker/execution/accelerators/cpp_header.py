"""The text of the header that C++ programs find compiled: all standard headers, and the usual templates used once.

The same uses come in two forms. In the precompiled header they are functions, so that the templates are instantiated
and their code is made. After it they are templates that nobody instantiates: the compiler looks everything up that they
name, which reads it into memory before it stops, but has no code to make of them.
"""

from __future__ import annotations

from collections.abc import Iterator

_HEADERS = "#include <assert.h>\n#include <bits/stdc++.h>\n"
_PARAMETERS = "long l, int i, float f, double d, char c, std::string s, bool b"
_ELEMENTS = (
    *("long", "int", "float", "double", "char", "std::string"),
    *("std::vector<long>", "std::vector<int>", "std::vector<std::string>"),
    *("std::pair<long, long>", "std::pair<int, int>", "std::tuple<long, long>"),
)
_VALUES = (
    *("std::tuple<long, long>", "std::tuple<float, float>", "std::tuple<int, int>"),
    *("std::tuple<std::string, bool>", "std::tuple<std::string, long>", "std::pair<long, long>"),
    *("std::optional<long>", "std::optional<std::string>", "std::vector<float>", "std::vector<std::vector<long>>"),
    *("std::tuple<std::optional<long>, std::optional<long>>", "std::vector<std::tuple<long, long>>"),
)
_MAPPED = (
    *(("long", "long"), ("int", "int"), ("char", "int"), ("char", "long")),
    *(("std::string", "long"), ("std::string", "int"), ("std::string", "std::string")),
)
_VALUE = """T a, b; T c(b); T d(std::move(c)); c = b; c = std::move(d); std::swap(c, d);
(void)(a == b); (void)(a != b); (void)(a < b); (void)(a > b);"""
_VECTOR = """typedef std::vector<T> V;
V v; T x{}; V w({x, x}); V e; V n(std::size_t(3)); V m(std::size_t(3), x); V r(v.begin(), v.end());
w = {x}; v.push_back(x); v.push_back(T(x)); v.emplace_back(x); v.pop_back(); v.insert(v.begin(), x);
v.insert(v.end(), w.begin(), w.end()); v.erase(v.begin()); v.erase(v.begin(), v.end()); v.resize(2); v.resize(2, x);
v.reserve(4); v.clear(); v.assign(2, x); v.swap(w);
(void)v.empty(); (void)v.back(); (void)v.front(); (void)v.at(0); (void)v[0]; (void)(v == w); (void)(v != w);
(void)(v < w);
std::sort(v.begin(), v.end()); std::sort(v.rbegin(), v.rend()); std::reverse(v.begin(), v.end());
std::sort(v.begin(), v.end(), std::greater<T>()); (void)(std::find(v.begin(), v.end(), x) != v.end());
(void)std::count(v.begin(), v.end(), x);
(void)*std::max_element(v.begin(), v.end()); (void)*std::min_element(v.begin(), v.end());
v.erase(std::unique(v.begin(), v.end()), v.end()); v.erase(std::remove(v.begin(), v.end(), x), v.end());
std::set<T> s(v.begin(), v.end()); s.insert(x); (void)s.count(x); (void)(s.find(x) != s.end());
for (const auto &y : s) (void)y; V fs(s.begin(), s.end());
for (auto y : v) (void)y; for (const auto &y : v) (void)y; for (auto &y : v) (void)y;
for (auto i = v.begin(); i != v.end(); ++i) (void)*i; for (auto i = v.rbegin(); i != v.rend(); ++i) (void)*i;"""
_MAP = """M m; K k{}; V v{}; m[k] = v; m[k]; (void)(m.find(k) != m.end()); (void)m.count(k); m.insert({k, v});
m.insert(std::make_pair(k, v)); m.erase(k); (void)m.at(k); m.size(); M c(m); c = m; (void)(c == m);
for (auto &p : m) (void)p.second; for (const auto &p : m) (void)p.first; for (auto p : m) (void)p; M i({{k, v}});
for (auto i = m.begin(); i != m.end(); ++i) (void)i->second;"""
_OTHERS = """std::string t; t += s; t += c; t += "a"; t = s + s; t = s + c; t = c + s; t = s + "a"; t = "a" + s;
t.push_back(c); t = s.substr(1, 2); t = s.substr(1); t = std::to_string(l); t = std::to_string(i);
t = std::to_string(d); std::string cs("a"); t = "a"; t = std::string("a");
(void)(t == s); (void)(t != s); (void)(t < s); (void)(t == "a"); (void)(t != "a");
(void)(t.find(s) != std::string::npos); (void)t.find(c); t.insert(0, s); t.erase(0, 1); t.append(s);
std::reverse(t.begin(), t.end()); std::sort(t.begin(), t.end()); (void)t[0]; (void)t.size(); (void)t.length();
(void)t.empty(); (void)t.back();
std::transform(t.begin(), t.end(), t.begin(), ::tolower); std::string u(t.begin(), t.end());
std::string w(t.rbegin(), t.rend()); std::string z(3, c); for (char y : t) (void)y; for (char &y : t) y = c;
for (auto y : s) (void)y; (void)std::equal(t.begin(), t.end(), t.rbegin());
std::stringstream ss(s); ss << s << c << l << i << d << "a";
while (ss >> t) {} while (std::getline(ss, t, c)) {} t = ss.str(); std::istringstream is(s); std::ostringstream os;
os << l; t = os.str(); std::cout << s << l << i << d << c << "a" << std::endl; std::cerr << s;
(void)std::stoi(s); (void)std::stol(s); (void)std::stod(s); (void)std::abs(l); (void)std::abs(d);
(void)std::pow(d, d); (void)std::pow(l, l); (void)std::pow(i, i); (void)std::sqrt(l); (void)std::sqrt(d);
(void)std::round(d); (void)std::floor(d); (void)std::max(l, l); (void)std::min(l, l); (void)std::max(i, i);
(void)std::min(i, i); (void)std::max(d, d); (void)std::min(d, d); (void)std::max(f, f); (void)std::min(f, f);
(void)std::abs(f); std::swap(l, l);
(void)(std::tuple<long, long>() == std::make_tuple(2, 3)); (void)(std::make_tuple(2, 3) == std::make_tuple(2, 3));
(void)(std::tuple<float, float>() == std::make_tuple(2.0f, 3.0f));
(void)(std::tuple<std::string, bool>(s, b) == std::make_tuple("a", true));
(void)(std::tuple<std::string, bool>() == std::make_tuple("ab", true)); std::make_tuple(l, l);
std::make_tuple(s, b); std::make_pair(l, l); std::make_pair(i, i); std::tuple<long, long> tl{l, l};
auto [x1, x2] = tl; (void)std::get<0>(tl); (void)std::get<1>(tl);
std::optional<long> ol(l); (void)(ol == l); (void)(ol == 5); (void)(ol == std::nullopt); ol = l; ol = std::nullopt;
(void)ol.value(); (void)*ol; (void)ol.has_value();
std::optional<std::string> oss(s); (void)(oss == s); (void)(oss == "a"); (void)(oss == std::nullopt); oss = s;
oss = std::nullopt; (void)oss.value(); (void)*oss;
std::set<char> sc(s.begin(), s.end()); sc.insert(c); (void)sc.count(c);
std::unordered_set<char> uc(s.begin(), s.end()); uc.insert(c); (void)uc.count(c); std::unordered_set<long> ul;
ul.insert(l); (void)ul.count(l); std::unordered_set<std::string> us; us.insert(s); (void)us.count(s);
std::stack<char> st; st.push(c); (void)st.top(); st.pop(); (void)st.empty(); std::stack<long> stl; stl.push(l);
(void)stl.top(); stl.pop(); (void)stl.empty(); std::queue<long> q; q.push(l); (void)q.front(); q.pop();
std::vector<bool> vb(5, true); vb[2] = false; (void)vb[1];
std::vector<long> vl, vm; (void)std::accumulate(vl.begin(), vl.end(), 0);
(void)std::accumulate(vl.begin(), vl.end(), 0L); (void)(vl == std::vector<long>({(long)1, (long)2}));
std::function<bool(long)> fn; std::vector<std::string> vs;
(void)(vs == std::vector<std::string>({(std::string)"a"})); vs.push_back("a"); std::vector<std::vector<long>> vvl;
vvl.push_back({l, l});
(void)(vvl == std::vector<std::vector<long>>({(std::vector<long>)std::vector<long>({(long)1})}));
std::sort(vl.begin(), vl.end(), [](long a, long b) { return a > b; });"""


def instantiated() -> str:
    """The header that is compiled once."""
    return _HEADERS + _namespace("rewardranker_std", "inline void")


def touched() -> str:
    """What the compiler reads before it stops."""
    return _namespace("rewardranker_seen", "template <class> void")


def _namespace(name: str, kind: str) -> str:
    functions = [f"{kind} f{number}({_PARAMETERS}) {{ {{\n{body}\n}} }}\n" for number, body in enumerate(_bodies())]
    return f"namespace {name} {{\n{''.join(functions)}}}\n"


def _bodies() -> Iterator[str]:
    for element in _ELEMENTS:
        yield f"typedef {element} T; {_VECTOR}"
    for container in ("map", "unordered_map"):
        for key, value in _MAPPED:
            yield f"typedef {key} K; typedef {value} V; typedef std::{container}<K, V> M; {_MAP}"
    for value in _VALUES:
        yield f"typedef {value} T; {_VALUE}"
    yield _OTHERS
