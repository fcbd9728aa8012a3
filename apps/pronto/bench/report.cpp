#include "bench/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <iterator>

namespace pronto::bench {
namespace {

namespace json = boost::json;

struct Percentile {
  double percent;
  const char* name;
};
constexpr Percentile percentiles[] = {{50, "p50"}, {90, "p90"}, {99, "p99"}, {99.9, "p99.9"}};

/// 1234567 as "1,234,567".
std::string grouped(double number) {
  std::string text = fmt::format("{:.0f}", number);
  for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3) {
    text.insert(static_cast<std::size_t>(at), 1, ',');
  }
  return text;
}

/// Three digits that matter, in milliseconds.
std::string in_milliseconds(Histogram::Duration time) {
  const double ms = std::chrono::duration<double, std::milli>{time}.count();
  return fmt::format("{:.{}f}", ms, ms < 10 ? 3 : ms < 100 ? 2 : 1);
}

std::string plural(std::uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string load_line(const LoadOptions& options) {
  std::string line = plural(options.publishers, "publisher") + ", ";
  if (options.rate > 0) {
    line += fmt::format("open loop, {}/s", grouped(options.rate));
  } else if (options.is_unconfirmed) {
    line += "closed loop, as fast as the broker reads";
  } else {
    line += fmt::format("closed loop, window {}", options.window);
  }
  if (options.backlog_max > 0) line += fmt::format(", backlog at most {}", options.backlog_max);
  return line;
}

std::string queues_line(const LoadOptions& options) {
  std::string line = options.fan_out > 0
                         ? fmt::format("fan-out to {}", plural(options.fan_out, "queue"))
                         : plural(options.queues, "queue");
  if (!options.queue_type.empty()) line += fmt::format(" ({})", options.queue_type);
  if (options.consumers_of_queue == 0) return line + ", no consumer";
  if (options.priorities > 0) line += fmt::format(" with {} priorities", options.priorities);
  if (options.bindings > 0) line += fmt::format(", {} more bindings", options.bindings);
  line += fmt::format(", {} each{}, prefetch {}", plural(options.consumers_of_queue, "consumer"),
                      options.is_connection_shared ? " on one connection" : "", options.prefetch);
  return line + (options.ack_every == 0   ? ", no acks"
                 : options.ack_every == 1 ? ", ack for each"
                                          : fmt::format(", ack every {}", options.ack_every));
}

void add_latency(std::string& out, std::string_view name, const Histogram& histogram) {
  if (histogram.count() == 0) return;
  out += fmt::format("{:<12}", name);
  for (const auto& [percent, label] : percentiles) {
    out += fmt::format("{:>11}", in_milliseconds(histogram.percentile(percent)));
  }
  out += fmt::format("{:>11}\n", in_milliseconds(histogram.max()));
}

json::object latency_object(const Histogram& histogram) {
  const auto micro = [](Histogram::Duration time) {
    return std::chrono::duration<double, std::micro>{time}.count();
  };
  json::object object{{"count", histogram.count()}};
  for (const auto& [percent, label] : percentiles) {
    object[label] = micro(histogram.percentile(percent));
  }
  object["max"] = micro(histogram.max());
  object["mean"] = micro(histogram.mean());
  return object;
}

}  // namespace

std::string to_table(const LoadOptions& options, const LoadResult& result) {
  std::string out =
      fmt::format("{:<12}{} at {}\n", "broker", result.broker, options.broker.to_string());
  out += fmt::format("{:<12}{}\n{:<12}{}\n", "load", load_line(options), "queues",
                     queues_line(options));
  out += fmt::format("{:<12}{} bytes, {}, {}; measured for {:.2f} s", "messages",
                     grouped(static_cast<double>(options.message_bytes)),
                     options.is_transient ? "transient" : "persistent",
                     options.is_unconfirmed ? "without confirms" : "confirmed",
                     result.measured.count());
  out += options.count > 0 ? "\n\n"
                           : fmt::format(" after {:.1f} s of warm-up\n\n", options.warmup.count());

  out += fmt::format("{:<12}{:>11}{:>11}\n", "", "messages/s", "MB/s");
  const auto add_rate = [&](std::string_view name, double rate) {
    out += fmt::format("{:<12}{:>11}{:>11.1f}\n", name, grouped(rate),
                       rate * static_cast<double>(options.message_bytes) / 1e6);
  };
  add_rate("published", result.publish_rate);
  if (!options.is_unconfirmed) add_rate("confirmed", result.confirm_rate);
  if (options.consumers_of_queue > 0) add_rate("delivered", result.deliver_rate);

  if (result.confirm.count() + result.end_to_end.count() > 0) {
    out += fmt::format("\n{:<12}", "ms");
    for (const auto& [percent, label] : percentiles) out += fmt::format("{:>11}", label);
    out += fmt::format("{:>11}\n", "max");
    add_latency(out, "confirm", result.confirm);
    add_latency(out, "end to end", result.end_to_end);
  }

  out +=
      fmt::format("\n{:<12}{:.0f} % of one processor\n", "this load", result.processor_share * 100);
  const CheckTotals& check = result.check;
  out += fmt::format(
      "{:<12}{} (lost {}, duplicates {}, out of order {}, foreign {}, nacked {}, "
      "unanswered {})\n",
      "check", result.is_right() ? "all right" : "WRONG", check.lost, check.duplicates,
      check.out_of_order, check.foreign, result.nacked, result.unanswered);
  if (options.consumers_of_queue == 0)
    out += "            nothing was consumed, so loss was not looked for\n";
  if (result.is_interrupted) out += "            interrupted before its end\n";
  return out;
}

std::string to_json(const LoadOptions& options, const LoadResult& result) {
  const CheckTotals& check = result.check;
  json::object rates{{"published", result.publish_rate}, {"delivered", result.deliver_rate}};
  if (!options.is_unconfirmed) rates["confirmed"] = result.confirm_rate;
  const json::object object{
      {"type", "result"},
      {"broker", {{"address", options.broker.to_string()}, {"name", result.broker}}},
      {"load",
       {{"publishers", options.publishers},
        {"queues", options.queue_count()},
        {"fan_out", options.fan_out},
        {"consumers_of_queue", options.consumers_of_queue},
        {"connection_shared", options.is_connection_shared},
        {"bindings", options.bindings},
        {"priorities", options.priorities},
        {"queue_type", options.queue_type},
        {"message_bytes", options.message_bytes},
        {"persistent", !options.is_transient},
        {"confirmed", !options.is_unconfirmed},
        {"window", options.window},
        {"rate", options.rate},
        {"backlog_max", options.backlog_max},
        {"prefetch", options.prefetch},
        {"ack_every", options.ack_every},
        {"warmup_seconds", options.count > 0 ? 0 : options.warmup.count()}}},
      {"measured_seconds", result.measured.count()},
      {"processor_share", result.processor_share},
      {"messages",
       {{"published", result.counted.published},
        {"confirmed", result.counted.confirmed},
        {"delivered", result.counted.delivered}}},
      {"per_second", rates},
      {"confirm_microseconds", latency_object(result.confirm)},
      {"end_to_end_microseconds", latency_object(result.end_to_end)},
      {"check",
       {{"right", result.is_right()},
        {"lost", check.lost},
        {"duplicates", check.duplicates},
        {"out_of_order", check.out_of_order},
        {"foreign", check.foreign},
        {"nacked", result.nacked},
        {"unanswered", result.unanswered},
        {"redelivered", result.redelivered}}},
      {"interrupted", result.is_interrupted}};
  return json::serialize(object);
}

std::string to_json(const LoadSample& sample) {
  const double seconds = sample.length.count();
  const auto rate = [&](std::uint64_t count) { return static_cast<double>(count) / seconds; };
  return json::serialize(json::object{{"type", "interval"},
                                      {"at_seconds", sample.at.count()},
                                      {"per_second",
                                       {{"published", rate(sample.counted.published)},
                                        {"confirmed", rate(sample.counted.confirmed)},
                                        {"delivered", rate(sample.counted.delivered)}}}});
}

std::string to_progress(const LoadSample& sample) {
  constexpr std::size_t width = 24;
  const auto filled =
      static_cast<std::size_t>(std::clamp(sample.done, 0.0, 1.0) * static_cast<double>(width));
  const double seconds = sample.length.count();
  return fmt::format("[{}{}] {:3.0f} %{}  published {}/s, delivered {}/s", std::string(filled, '#'),
                     std::string(width - filled, '.'), std::clamp(sample.done, 0.0, 1.0) * 100,
                     sample.at.count() < 0 ? " warming up" : "",
                     grouped(static_cast<double>(sample.counted.published) / seconds),
                     grouped(static_cast<double>(sample.counted.delivered) / seconds));
}

}  // namespace pronto::bench
