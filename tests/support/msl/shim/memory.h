// Device and threadgroup memory whose every access is checked: bounds, alignment, uninitialised reads, data races.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

namespace msl {

using Agent = uint64_t;  // a thread, or a simdgroup acting as one: serial number of its group * AGENTS + index in the group
constexpr Agent AGENTS = 2048, MANY = AGENTS - 1, ANYBODY = ~Agent{0};

[[noreturn]] void fail(const std::string& what);
std::string described(Agent agent);

// What is going on now; set by the executor, read by every access.
struct Now {
  Agent agent = 0;
  uint64_t group = 1;               // serial number of the threadgroup, never reused
  uint64_t first_group = 1;         // the first one of this launch
  uint32_t threadgroup_phase = 1;   // advanced by each barrier that orders threadgroup memory
  uint32_t device_phase = 1;        // the same for device memory
  bool running = false;             // false: the host reads and writes, unchecked
};
extern Now now;

struct Cell {
  Agent writer = 0, reader = 0;
  uint32_t written = 0, read = 0;  // in which phase
};

struct Space {
  std::string name;
  std::vector<unsigned char> bytes;
  size_t granule;  // bytes of one element, the unit of which races are told apart
  bool threadgroup;
  bool defined;    // filled by the host
  std::vector<Cell> cells;

  Space(std::string name, size_t size, size_t granule, bool threadgroup, bool defined)
      : name(std::move(name)), bytes(size, 0xFF), granule(granule), threadgroup(threadgroup), defined(defined),
        cells((size + granule - 1) / granule) {}

  void read(int64_t offset, void* to, size_t size, size_t alignment);
  void write(int64_t offset, const void* from, size_t size, size_t alignment);

 private:
  uint32_t phase() const { return threadgroup ? now.threadgroup_phase : now.device_phase; }
  std::string at(size_t cell) const;
  bool concurrent(Agent other, uint32_t when) const;
  void check(int64_t offset, size_t size, size_t alignment) const;
  void note_read(size_t i);
  void note_write(size_t i);
};

template <class T> struct reference;

// A pointer into device or threadgroup memory.
template <class T> struct pointer {
  Space* space;
  int64_t offset;
  pointer(Space* space, int64_t offset) : space(space), offset(offset) {}
  template <class U> explicit pointer(const pointer<U>& other) : space(other.space), offset(other.offset) {}
  pointer operator+(int64_t count) const { return {space, offset + count * int64_t(sizeof(T))}; }
  reference<T> operator[](int64_t index) const { return {*this + index}; }
  reference<T> operator*() const { return {*this}; }
};

// An element in checked memory: reads where a value is wanted, writes where it is assigned.
template <class T> struct reference {
  pointer<T> where;
  T value() const {
    T result;
    where.space->read(where.offset, &result, sizeof(T), alignof(T));
    return result;
  }
  operator T() const { return value(); }
  const reference& operator=(const T& value) const {
    where.space->write(where.offset, &value, sizeof(T), alignof(T));
    return *this;
  }
  const reference& operator=(const reference& other) const { return *this = other.value(); }
  pointer<T> operator&() const { return where; }
  auto operator[](int lane) const { return value()[lane]; }
};

template <class T> struct is_reference : std::false_type {};
template <class T> struct is_reference<reference<T>> : std::true_type {};
template <class T> T value(const T& x) { return x; }
template <class T> T value(const reference<T>& x) { return x.value(); }

#define MSL_BINARY(op)                                                                   \
  template <class A, class B>                                                            \
    requires(is_reference<A>::value || is_reference<B>::value)                           \
  auto operator op(const A& a, const B& b) {                                             \
    return value(a) op value(b);                                                         \
  }
MSL_BINARY(+) MSL_BINARY(-) MSL_BINARY(*) MSL_BINARY(/) MSL_BINARY(%)
MSL_BINARY(<) MSL_BINARY(<=) MSL_BINARY(>) MSL_BINARY(>=) MSL_BINARY(==) MSL_BINARY(!=)
MSL_BINARY(&) MSL_BINARY(|) MSL_BINARY(^) MSL_BINARY(<<) MSL_BINARY(>>)
#undef MSL_BINARY
template <class T> auto operator-(const reference<T>& a) { return -a.value(); }

}  // namespace msl
