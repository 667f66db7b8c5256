"""Answers as chat models write them to the tasks of `language_examples`: prose, one fenced block, and more in it."""

CLUTTERED = {
    "cpp": """Here is the solution:

```cpp
#include <vector>
#include <algorithm>
using namespace std;

const long FLOOR = 0;

// The larger one; a bracket } in a comment.
long larger(long a, long b);

long largest(const vector<long>& numbers) {
    long best = FLOOR;
    for (long n : numbers) {
        best = larger(best, n);
    }

    return best;
}

long larger(long a, long b) {
    return a > b ? a : b;
}

int main() {
    vector<long> numbers = {3, 7};
    cout << "{" << largest(numbers) << endl;
    return 0;
}
```

It keeps the best number so far.""",
    "java": """```java
import java.util.*;
import java.util.function.BinaryOperator;

class Pair {
    long a, b;
    Pair(long a, long b) { this.a = a; this.b = b; }
}

public class Problem {
    private static final long FLOOR = 0;

    /** Keeps the best number. */
    public static long largest(ArrayList<Long> numbers) {
        long best = FLOOR;
        for (long n : numbers) {
            best = larger(new Pair(best, n));
        }
        return best;
    }

    private static long larger(Pair p) {
        BinaryOperator<Long> max = (x, y) -> Math.max(x, y);
        return max.apply(p.a, p.b);
    }

    public static void main(String[] args) {
        System.out.println("{" + largest(new ArrayList<>(List.of(3L, 7L))));
    }
}
```""",
    "cs": """```csharp
using System;
using System.Collections.Generic;
using System.Linq;

public class Problem
{
    const long Floor = 0;

    public static long Largest(List<long> numbers)
    {
        return numbers.Aggregate(Floor, Larger);
    }

    private static long Larger(long a, long b) => a > b ? a : b;

    public static void Main(string[] args)
    {
        Console.WriteLine($"{Largest(new List<long> { 3, 7 })}");
    }
}
```""",
    "rs": """```rust
use std::cmp::max;

#[derive(Clone, Copy)]
struct Best<'a> {
    value: isize,
    _name: &'a str,
}

impl<'a> Best<'a> {
    fn with(self, n: isize) -> Self { Best { value: max(self.value, n), ..self } }
}

/// Keeps the best number: '{'.
pub fn largest(mut numbers: Vec<isize>) -> isize {
    numbers.push(lowest());
    numbers.iter().fold(Best { value: 0, _name: "}" }, |best, &n| best.with(n)).value
}

fn lowest() -> isize {
    0
}

fn main() {
    println!("{}", largest(vec![3, 7]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_works() { assert_eq!(largest(vec![3]), 3); }
}
```""",
    "sh": """```bash
#!/bin/bash

larger() {
    if [ "$1" -gt "$2" ]; then echo "$1"; else echo "$2"; fi
}

largest() {
    local best=0
    for n in $1; do
        case $n in
            -*) ;;
            *) best="$(larger "$best" "${n}")" ;;
        esac
    done
    echo "$best"
}

# Example
largest "3 7"
```""",
    "js": """```javascript
const assert = require('assert');

const larger = (a, b) => (a > b ? a : b);

/**
 * Keeps the best number.
 */
const largest = (values) => values.filter((v) => !/[{}]/.test(`${v}`)).reduce((a, b) => larger(a, b), floor());

function floor() {
  return 0;
}

function test() {
  assert.strictEqual(largest([3, 7]), 7);
}

test();
console.log(largest([3, 7]));
module.exports = { largest };
```""",
    "ts": """```typescript
type Numbers = number[];

export function largest(numbers: Numbers): number {
  return numbers.reduce((a, b) => larger(a, b), 0);
}

function larger(a: number, b: number): number {
  return a > b ? a : b;
}

console.log(largest([3, 7]));
export default largest;
```""",
    "php": """```php
<?php
declare(strict_types=1);

function larger(int $a, int $b): int {
    return $a > $b ? $a : $b; // } not the end
}

function largest(array $values): int {
    return array_reduce($values, 'larger', 0);
}

function test() {
    echo largest([3, 7]), "\\n";
}

test();
?>
```""",
    "go": """```go
package main

import (
	"fmt"
	"os"
	"sort"
)

func largest(numbers []int) int {
	sorted := append([]int{0}, numbers...)
	sort.Ints(sorted)
	return last(sorted)
}

func last(numbers []int) int {
	return numbers[len(numbers)-1]
}

func main() {
	fmt.Fprintln(os.Stdout, largest([]int{3, 7}))
}
```""",
    "rb": """```ruby
require 'set'

FLOOR = 0

def largest(values)
  return FLOOR if values.empty?

  values.reduce(FLOOR) do |a, b|
    larger?(a, b) ? a : b
  end
end

def larger?(a, b)
  a > b
end

puts largest([3, 7])
```""",
    "lua": """```lua
local FLOOR = 0

local function larger(a, b)
    if a > b then return a end
    return b
end

function largest(values)
    local best = FLOOR

    -- every number
    for _, n in ipairs(values) do
        best = larger(best, n)
    end

    return best
end

print(largest({3, 7}))
```""",
    "pl": """```perl
use strict;
use warnings;
use List::Util qw(max);

sub largest {
    my ($values) = @_;
    return floor() unless $#{$values} >= 0;

    # a bracket } in a comment
    return max(floor(), @$values);
}

sub floor { return 0; }

print largest([3, 7]), "\\n";
```""",
    "scala": """```scala
import scala.annotation.tailrec

object Problem {
  val floor = 0L

  def largest(numbers: List[Long]): Long = {
    @tailrec
    def go(rest: List[Long], best: Long): Long = rest match {
      case Nil => best
      case n :: more => go(more, larger(best, n))
    }
    go(numbers, floor)
  }

  def larger(a: Long, b: Long): Long = if (a > b) a else b

  def main(args: Array[String]): Unit = {
    println(s"${largest(List(3L, 7L))}")
  }
}
```""",
    "r": """```r
library(stats)

larger <- function(a, b) {
    if (a > b) a else b
}

largest <- function(values) {
    Reduce(larger, values, 0)
}

print(largest(c(3, 7)))
```""",
    "rkt": """```racket
#lang racket

(define (largest values)
  (foldl larger 0 values))

(define (larger a b)
  (if (> a b) a b))

(displayln (largest '(3 7)))
```""",
    "d": """```d
import std.algorithm;

long largest(long[] numbers)
{
    return reduce!larger(0L, numbers);
}

long larger(long a, long b)
{
    return a > b ? a : b;
}

void main()
{
    largest([3, 7]);
}
```""",
}
"""By MultiPL-E's code of the language: helpers before and after the function, imports, examples, `main`, other names of
parameters, a class around it."""
