import scala.collection.mutable

/** Loads what short programs use, so that the class list of its run makes an archive that they start from. */
object CommonClasses {
  case class Point(x: Int, y: Int)

  private var text = ""

  private def show(parts: Any*): Unit = text += parts.mkString(" ")

  def main(args: Array[String]): Unit = {
    val numbers = List[Long](3L, 1L, 2L)
    show(numbers.sorted.map(_ + 1).filter(_ > 1).mkString(","), numbers.sortBy(-_).zipWithIndex.toMap)
    show(numbers.foldLeft(0L)(_ + _), numbers.reduce(_ max _), numbers.groupBy(_ % 2).map(pair => pair._2.size).toList)
    show((1 to 5 by 2).toArray.map(_ * 1.5f).sum, (1 until 3).flatMap(i => List(i, i)).distinct.reverse)
    show(text.split("[,=]").exists(_.forall(_.isDigit)), text.toLowerCase.replaceAll("a+", "b").trim.take(3))
    show(text.map(c => if (c.isLetter) c.toUpper else c).filter(c => "aeiou".contains(c)).toSet, f"${1.5}%.2f $text%5s")
    val counts = mutable.Map[String, Int]().withDefaultValue(0)
    counts("a") += 1
    val buffer = mutable.ArrayBuffer(1, 2)
    buffer += 3
    show(counts, buffer, mutable.ListBuffer('c'), mutable.HashSet(1), mutable.Queue(1), new StringBuilder().append("x"))
    show(Option(1).getOrElse(0), Some("x").map(_.length), None, Left(1), Right("x"), Point(1, 2), Vector(1, 2))
    show(numbers.sliding(2).toList, numbers.zip(numbers.drop(1)).exists { case (a, b) => a < b })
    show(BigInt(12).pow(3), BigDecimal("1.5"), scala.math.sqrt(2), "(\\d+)".r.findAllIn(text).toList)
    show(Stream.from(1).takeWhile(_ < 4).toList, Iterator.iterate(1)(_ * 2).take(3).toList)
    show(numbers match { case head :: tail => head; case Nil => 0L }, numbers.hashCode, numbers == List(1L))
    for (i <- 0 until 2; c <- "ab" if i > 0) show(c)
    println(text)
    assert(text.isEmpty, "the end")
  }
}
