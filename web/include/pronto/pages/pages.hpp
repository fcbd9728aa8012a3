#pragma once

#include <span>
#include <string_view>

/// The customer and operator pages, built by web/build.mjs and held in the binary.
namespace pronto::pizzeria {

/// One built file. All views live as long as the program.
///
/// Source: web/README.md.
struct Page {
  /// Request path ("/assets/app-3F2A.js") when it starts with a slash, else the name of a
  /// template ("customer/index.html").
  std::string_view path;
  std::string_view content_type;
  /// Quoted, ready for the `ETag` header.
  std::string_view etag;
  std::string_view cache_control;
  std::string_view identity;
  /// Gzipped bytes of `identity`; empty for templates and where gzip gains nothing.
  std::string_view gzip;
};

/// Returns: every page, sorted by path. Runs on: any thread.
std::span<const Page> pages();

/// Returns: the page of exactly that path, or null. Runs on: any thread.
const Page* find_page(std::string_view path);

}  // namespace pronto::pizzeria
