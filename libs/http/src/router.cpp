#include "pronto/http/router.hpp"

#include <algorithm>

#include "pronto/base/assert.hpp"
#include "pronto/base/text.hpp"

namespace pronto::http {

std::vector<Router::Segment> Router::parse(std::string_view path_template) {
  PRONTO_ASSERT(path_template.starts_with('/'));
  std::vector<Segment> segments;
  for (const std::string_view text : split(path_template.substr(1), '/')) {
    if (text.starts_with('{') && text.ends_with("...}")) {
      segments.push_back({Segment::Kind::rest, std::string{text.substr(1, text.size() - 5)}});
    } else if (text.starts_with('{') && text.ends_with('}')) {
      segments.push_back({Segment::Kind::name, std::string{text.substr(1, text.size() - 2)}});
    } else {
      segments.push_back({Segment::Kind::fixed, std::string{text}});
    }
  }
  for (std::size_t i = 0; i + 1 < segments.size(); ++i) {
    PRONTO_ASSERT(segments[i].kind != Segment::Kind::rest);
  }
  return segments;
}

Router& Router::add(std::string_view method, std::string_view path_template, Handler handler) {
  std::vector<Segment> segments = parse(path_template);
  auto route = std::ranges::find(routes_, segments, &Route::segments);
  if (route == routes_.end()) {
    // Fixed segments before names before the rest, so that the first match is the best one.
    const auto is_before = [](const Route& left, const std::vector<Segment>& right) {
      return std::ranges::lexicographical_compare(left.segments, right, {}, &Segment::kind,
                                                  &Segment::kind);
    };
    route =
        std::ranges::find_if(routes_, [&](const Route& one) { return !is_before(one, segments); });
    route = routes_.insert(route, Route{std::move(segments), {}});
  }
  PRONTO_ASSERT(std::ranges::find(route->methods, method, &Method::name) == route->methods.end());
  route->methods.push_back({std::string{method}, std::move(handler)});
  return *this;
}

Router& Router::get(std::string_view path_template, Handler handler) {
  return add("GET", path_template, std::move(handler));
}
Router& Router::post(std::string_view path_template, Handler handler) {
  return add("POST", path_template, std::move(handler));
}
Router& Router::put(std::string_view path_template, Handler handler) {
  return add("PUT", path_template, std::move(handler));
}
Router& Router::del(std::string_view path_template, Handler handler) {
  return add("DELETE", path_template, std::move(handler));
}
bool Router::matches(const Route& route, const std::vector<std::string>& path, Request& request) {
  request.parameters.clear();
  for (std::size_t i = 0; i < route.segments.size(); ++i) {
    const Segment& segment = route.segments[i];
    if (segment.kind == Segment::Kind::rest) {
      std::string rest;
      for (std::size_t j = i; j < path.size(); ++j) rest += (j > i ? "/" : "") + path[j];
      request.parameters[segment.text] = std::move(rest);
      return true;
    }
    if (i >= path.size()) return false;
    if (segment.kind == Segment::Kind::fixed ? segment.text != path[i] : path[i].empty()) {
      return false;
    }
    if (segment.kind == Segment::Kind::name) request.parameters[segment.text] = path[i];
  }
  return path.size() == route.segments.size();
}

Task<Response> Router::handle(Request& request) {
  std::vector<std::string> path;
  if (request.path.starts_with('/')) {
    for (const std::string_view segment : split(std::string_view{request.path}.substr(1), '/')) {
      auto decoded = percent_decode(segment);
      if (!decoded) co_return bad_request("The path has a broken escape.");
      path.push_back(std::move(*decoded));
    }
  }
  std::vector<std::string> allowed;
  for (Route& route : routes_) {
    if (!matches(route, path, request)) continue;
    for (Method& method : route.methods) {
      if (method.name == request.method || (request.method == "HEAD" && method.name == "GET")) {
        co_return co_await method.handler(request);
      }
      allowed.push_back(method.name);
    }
  }
  request.parameters.clear();
  if (allowed.empty()) co_return not_found("There is nothing at " + request.path + '.');
  if (std::ranges::find(allowed, "GET") != allowed.end()) allowed.emplace_back("HEAD");
  allowed.emplace_back("OPTIONS");
  std::ranges::sort(allowed);
  allowed.erase(std::ranges::unique(allowed).begin(), allowed.end());
  std::string allow;
  for (const std::string& method : allowed) allow += (allow.empty() ? "" : ", ") + method;
  if (request.method == "OPTIONS") co_return Response::empty(204).with("Allow", allow);
  Problem problem;
  problem.status = 405;
  problem.detail = request.method + " is not possible here; " + allow + " are.";
  co_return Response{problem}.with("Allow", allow);
}

}  // namespace pronto::http
