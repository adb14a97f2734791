// What kernels see of device and threadgroup memory: pointers, of which memory.cpp checks every access.
#pragma once
#include <cstddef>
#include <cstdint>

namespace msl {

struct Space;
void read(Space* space, int64_t offset, void* to, size_t size, size_t alignment);
void write(Space* space, int64_t offset, const void* from, size_t size, size_t alignment);

template <class T> struct reference;

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
    read(where.space, where.offset, &result, sizeof(T), alignof(T));
    return result;
  }
  operator T() const { return value(); }
  const reference& operator=(const T& value) const {
    write(where.space, where.offset, &value, sizeof(T), alignof(T));
    return *this;
  }
  const reference& operator=(const reference& other) const { return *this = other.value(); }
  pointer<T> operator&() const { return where; }
  auto operator[](int lane) const { return value()[lane]; }
};

template <class T> constexpr bool is_reference = false;
template <class T> constexpr bool is_reference<reference<T>> = true;
template <class T> T value(const T& x) { return x; }
template <class T> T value(const reference<T>& x) { return x.value(); }

#define MSL_BINARY(op)                                       \
  template <class A, class B>                                \
    requires(is_reference<A> || is_reference<B>)             \
  auto operator op(const A& a, const B& b) {                 \
    return value(a) op value(b);                             \
  }
MSL_BINARY(+) MSL_BINARY(-) MSL_BINARY(*) MSL_BINARY(/) MSL_BINARY(%)
MSL_BINARY(<) MSL_BINARY(<=) MSL_BINARY(>) MSL_BINARY(>=) MSL_BINARY(==) MSL_BINARY(!=)
MSL_BINARY(&) MSL_BINARY(|) MSL_BINARY(^) MSL_BINARY(<<) MSL_BINARY(>>)
#undef MSL_BINARY
template <class T> auto operator-(const reference<T>& a) { return -a.value(); }

}  // namespace msl
