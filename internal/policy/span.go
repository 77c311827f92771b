package policy

import (
	"math"

	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// span is the range of values of a number, a time or a duration (the latter two in milliseconds).
type span struct{ low, high float64 }

// Cedar's numbers have 64 bits and overflow is an error at run time. Everything is kept a factor of four below that, which
// also makes up for computing in floating point.
const safely = 1 << 61

var (
	anything = span{math.Inf(-1), math.Inf(1)}
	nowSpan  = span{float64(minNow.UnixMilli()), float64(maxNow.UnixMilli())}
)

const day = 24 * 60 * 60 * 1000 // milliseconds

func hull(a, b span) span { return span{min(a.low, b.low), max(a.high, b.high)} }

func (s span) safe() bool { return s.low >= -safely && s.high <= safely }

// overflows tells whether some arithmetic in the expression could overflow, and which.
func overflows(n xast.IsNode) (string, bool) {
	what := ""
	xast.Inspect(xast.NewNode(n), func(n xast.IsNode) bool {
		switch n := n.(type) {
		case xast.NodeTypeAdd, xast.NodeTypeSub, xast.NodeTypeMult, xast.NodeTypeNegate:
			if !spanOf(n).safe() {
				what = "this arithmetic can overflow"
			}
		case xast.NodeTypeExtensionCall:
			if (n.Name == "offset" || n.Name == "durationSince") && !spanOf(n).safe() {
				what = string(n.Name) + " can overflow"
			}
		}
		return what == ""
	})
	return what, what != ""
}

// spanOf is the range of an expression; anything, where it is not known.
func spanOf(n xast.IsNode) span {
	switch n := n.(type) {
	case xast.NodeValue:
		if v, ok := n.Value.(types.Long); ok {
			return span{float64(v), float64(v)}
		}
	case xast.NodeTypeNegate:
		s := spanOf(n.Arg)
		return span{-s.high, -s.low}
	case xast.NodeTypeAdd:
		return plus(spanOf(n.Left), spanOf(n.Right))
	case xast.NodeTypeSub:
		return minus(spanOf(n.Left), spanOf(n.Right))
	case xast.NodeTypeMult:
		return times(spanOf(n.Left), spanOf(n.Right))
	case xast.NodeTypeIfThenElse:
		return hull(spanOf(n.Then), spanOf(n.Else))
	case xast.NodeTypeAccess:
		if v, ok := n.Arg.(xast.NodeTypeVariable); ok && v.Name == "context" && n.Value == "now" {
			return nowSpan
		}
	case xast.NodeTypeExtensionCall:
		return spanOfCall(n)
	}
	return anything
}

func spanOfCall(n xast.NodeTypeExtensionCall) span {
	if len(n.Args) == 0 {
		return anything
	}
	divide := func(by float64) span {
		s := spanOf(n.Args[0])
		return span{s.low/by - 1, s.high/by + 1}
	}
	switch n.Name {
	case "datetime", "duration":
		return spanOfLiteral(n)
	case "toDate":
		s := spanOf(n.Args[0])
		return span{s.low - day, s.high + day}
	case "toTime":
		return span{-day, day}
	case "toMilliseconds":
		return spanOf(n.Args[0])
	case "toSeconds":
		return divide(1000)
	case "toMinutes":
		return divide(60 * 1000)
	case "toHours":
		return divide(60 * 60 * 1000)
	case "toDays":
		return divide(day)
	}
	if len(n.Args) == 2 {
		switch n.Name {
		case "offset":
			return plus(spanOf(n.Args[0]), spanOf(n.Args[1]))
		case "durationSince":
			return minus(spanOf(n.Args[0]), spanOf(n.Args[1]))
		}
	}
	return anything
}

func spanOfLiteral(n xast.NodeTypeExtensionCall) span {
	v, ok := n.Args[0].(xast.NodeValue)
	if !ok {
		return anything
	}
	text, ok := v.Value.(types.String)
	if !ok {
		return anything
	}
	if n.Name == "duration" {
		if d, err := types.ParseDuration(string(text)); err == nil {
			return span{float64(d.ToMilliseconds()), float64(d.ToMilliseconds())}
		}
		return anything
	}
	if t, err := types.ParseDatetime(string(text)); err == nil {
		return span{float64(t.Milliseconds()), float64(t.Milliseconds())}
	}
	return anything
}

func plus(a, b span) span  { return span{a.low + b.low, a.high + b.high} }
func minus(a, b span) span { return span{a.low - b.high, a.high - b.low} }

func times(a, b span) span {
	if !a.safe() || !b.safe() {
		return anything
	}
	p := [4]float64{a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high}
	return span{min(p[0], p[1], p[2], p[3]), max(p[0], p[1], p[2], p[3])}
}

// kind is what can be ordered.
type kind string

const (
	noKind   kind = "something without order"
	number64 kind = "a number"
	aTime    kind = "a time"
	someTime kind = "a duration"
)

// kindOf tells what an expression that the type checker has passed, or will, is.
func kindOf(n xast.IsNode) kind {
	switch n := n.(type) {
	case xast.NodeValue:
		if _, ok := n.Value.(types.Long); ok {
			return number64
		}
	case xast.NodeTypeAdd, xast.NodeTypeSub, xast.NodeTypeMult, xast.NodeTypeNegate:
		return number64
	case xast.NodeTypeIfThenElse:
		if k := kindOf(n.Then); k == kindOf(n.Else) {
			return k
		}
	case xast.NodeTypeAccess:
		if v, ok := n.Arg.(xast.NodeTypeVariable); ok && v.Name == "context" && n.Value == "now" {
			return aTime
		}
	case xast.NodeTypeExtensionCall:
		switch n.Name {
		case "datetime", "offset", "toDate":
			return aTime
		case "duration", "toTime", "durationSince":
			return someTime
		case "toDays", "toHours", "toMinutes", "toSeconds", "toMilliseconds":
			return number64
		}
	}
	return noKind
}
