package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// pairs are flags of the form name=value, given once or several times.
type pairs map[string]string

func (p *pairs) String() string { return "" }

// Type is the form that the help shows.
func (p *pairs) Type() string { return "NAME=VALUE" }

// Set reads one pair. A name may come once only: which value counts would be a guess.
func (p *pairs) Set(s string) error {
	name, value, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return fmt.Errorf("%q has not the form NAME=VALUE", clip(s))
	}
	if _, twice := (*p)[name]; twice {
		return fmt.Errorf("%q is given twice", clip(name))
	}
	if *p == nil {
		*p = pairs{}
	}
	(*p)[name] = value
	return nil
}

func (p *pairs) flag(cmd *cobra.Command, name, help string) { cmd.Flags().Var(p, name, help) }

// Type is what the help calls a list of words.
func words(cmd *cobra.Command, to *[]string, name, help string) {
	cmd.Flags().StringArrayVar(to, name, nil, help)
}

// days is a duration that can also be given in days: 30d, 12h, 90m.
type days time.Duration

func (d *days) String() string {
	if *d == 0 {
		return ""
	}
	return spell(time.Duration(*d))
}

// Type is the form that the help shows.
func (d *days) Type() string { return "DURATION" }

// Set reads a duration.
func (d *days) Set(s string) error {
	v, ok := parseDays(s)
	if !ok || v <= 0 {
		return fmt.Errorf("%q is not a duration like 30d, 12h or 90m", clip(s))
	}
	*d = days(v)
	return nil
}

func parseDays(s string) (time.Duration, bool) {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		v, err := strconv.Atoi(n)
		return time.Duration(v) * 24 * time.Hour, err == nil && v >= 0 && v <= maxDays
	}
	v, err := time.ParseDuration(s)
	return v, err == nil
}

// maxDays keeps durations from overflowing; it is some 100 years.
const maxDays = 36525

// spell writes a duration in its largest whole unit.
func spell(d time.Duration) string {
	switch {
	case d >= 24*time.Hour && d%(24*time.Hour) == 0:
		return strconv.Itoa(int(d/(24*time.Hour))) + "d"
	case d >= time.Hour && d%time.Hour == 0:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	}
	return d.Round(time.Second).String()
}

// ahead is a time that comes: a date, a time as RFC 3339 has it, or in how long.
type ahead struct{ time.Time }

func (d *ahead) String() string { return "" }

// Type is the form that the help shows.
func (d *ahead) Type() string { return "TIME" }

// Set reads a time. The server says whether it is ahead.
func (d *ahead) Set(s string) error {
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			d.Time = t
			return nil
		}
	}
	if in, ok := parseDays(s); ok && in > 0 {
		d.Time = time.Now().Add(in)
		return nil
	}
	return fmt.Errorf("%q is not a time: want a date (2030-01-31), a time (2030-01-31T12:00:00Z), or in how long (12h, 30d)", clip(s))
}

// layouts are the forms of a time, in UTC where they do not say.
var layouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly}

// instant is a time: a date, a time as RFC 3339 has it, or how long ago.
type instant struct{ time.Time }

func (i *instant) String() string { return "" }

// Type is the form that the help shows.
func (i *instant) Type() string { return "TIME" }

// Set reads a time.
func (i *instant) Set(s string) error {
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			i.Time = t
			return nil
		}
	}
	if ago, ok := parseDays(s); ok && ago >= 0 {
		i.Time = time.Now().Add(-ago)
		return nil
	}
	return fmt.Errorf("%q is not a time: want a date (2026-01-31), a time (2026-01-31T12:00:00Z), or how long ago (15m, 2d)", clip(s))
}
