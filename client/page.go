package client

import (
	"iter"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// pages turns a paged listing into one sequence. It asks for a page when the one before is used up; an error is the last element.
func pages[T any](fetch func(token string) (items []T, next string, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for token := ""; ; {
			items, next, err := fetch(token)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			token = next
		}
	}
}

// each converts a list.
func each[P, T any](from []P, convert func(P) T) []T {
	if len(from) == 0 {
		return nil
	}
	to := make([]T, len(from))
	for i, p := range from {
		to[i] = convert(p)
	}
	return to
}

// timeOf is a time of the wire; not set is the zero time.
func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

// stamp is a time for the wire; the zero time is not set.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
