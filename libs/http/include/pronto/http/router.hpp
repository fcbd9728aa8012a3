#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "pronto/async/task.hpp"
#include "pronto/http/request.hpp"
#include "pronto/http/response.hpp"

namespace pronto::http {

/// Answers one request. The request is alive until the answer has been sent as a whole. It may be
/// a lambda with captures: whoever calls it keeps it alive.
using Handler = std::function<Task<Response>(Request&)>;

/// Finds the handler of a method and a path.
///
/// A template is a path of segments, `{name}` stands for one segment: `/orders/{id}/events`;
/// `{name...}` as the last one for all that is left. Fixed segments win over names. HEAD is
/// answered by GET's handler without the body, OPTIONS with the methods there are.
/// Runs on: the loop's thread.
class Router {
 public:
  /// A template that is there already for this method, or that does not parse, is a bug of ours.
  Router& add(std::string_view method, std::string_view path_template, Handler handler);
  Router& get(std::string_view path_template, Handler handler);
  Router& post(std::string_view path_template, Handler handler);
  Router& put(std::string_view path_template, Handler handler);
  Router& del(std::string_view path_template, Handler handler);

  /// Answers `request`: what the handler says; 404 (no such path), 405 with `Allow` (another
  /// method), 400 (a broken escape in the path). The router outlives the task.
  Task<Response> handle(Request& request);

 private:
  struct Segment {
    enum class Kind { fixed, name, rest };
    Kind kind;
    std::string text;
    bool operator==(const Segment&) const = default;
  };
  struct Method {
    std::string name;
    Handler handler;
  };
  struct Route {
    std::vector<Segment> segments;
    std::vector<Method> methods;
  };
  static std::vector<Segment> parse(std::string_view path_template);
  static bool matches(const Route& route, const std::vector<std::string>& path, Request& request);

  std::vector<Route> routes_;
};

}  // namespace pronto::http
