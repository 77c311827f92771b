package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Limits of values.
const (
	maxValue = 4096 // bytes
	maxList  = 64   // values
)

// one makes a row whose setting has a single value.
func one(name, value, form, help string, assign func(c *Config, v, base string) error) setting {
	return setting{name: name, value: value, form: form, help: help, assign: func(c *Config, vs []string, base string) error {
		return assign(c, vs[0], base)
	}}
}

func path(name, value, shown string, at func(*Config) *string, help string) setting {
	s := one(name, value, "a path; a relative one in a file starts at the file's directory", help, func(c *Config, v, base string) error {
		if v != "" && v != Off && !filepath.IsAbs(v) {
			v = filepath.Join(base, v)
		}
		if strings.ContainsFunc(v, unicode.IsControl) {
			return fmt.Errorf("%q has control characters", v)
		}
		*at(c) = v
		return nil
	})
	s.shown = shown
	return s
}

func number(name, value string, lo, hi int, at func(*Config) *int, help string) setting {
	return one(name, value, fmt.Sprintf("a whole number from %d to %d", lo, hi), help, func(c *Config, v, _ string) error {
		n, err := strconv.Atoi(v)
		if err != nil || v[0] == '+' {
			return fmt.Errorf("%q is not a whole number", v)
		}
		if n < lo || n > hi {
			return fmt.Errorf("%d is out of range", n)
		}
		*at(c) = n
		return nil
	})
}

func size(name, value string, lo, hi int64, at func(*Config) *int64, help string) setting {
	return one(name, value, fmt.Sprintf("a size from %s to %s, as in 512KiB, 64MiB, 2GiB", sizeText(lo), sizeText(hi)), help, func(c *Config, v, _ string) error {
		n, err := parseSize(v)
		if err != nil {
			return err
		}
		if n < lo || n > hi {
			return fmt.Errorf("%s is out of range", v)
		}
		*at(c) = n
		return nil
	})
}

func duration(name, value string, lo, hi time.Duration, at func(*Config) *time.Duration, help string) setting {
	return one(name, value, fmt.Sprintf("a duration from %s to %s, as in 500ms, 30s, 15m, 24h, 30d", durationText(lo), durationText(hi)), help, func(c *Config, v, _ string) error {
		d, err := parseDuration(v)
		if err != nil {
			return err
		}
		if d < lo || d > hi {
			return fmt.Errorf("%s is out of range", v)
		}
		*at(c) = d
		return nil
	})
}

func choice[T ~string](name, value string, of []T, at func(*Config) *T, help string) setting {
	texts := make([]string, len(of))
	for i, v := range of {
		texts[i] = string(v)
	}
	return one(name, value, oneOf(texts), help, func(c *Config, v, _ string) error {
		if !slices.Contains(texts, v) {
			return fmt.Errorf("%q is none of them", clip(v))
		}
		if at != nil {
			*at(c) = T(v)
		}
		return nil
	})
}

// to adds what becomes of a value once it has been checked.
func (s setting) to(set func(c *Config, v string)) setting {
	check := s.assign
	s.assign = func(c *Config, vs []string, base string) error {
		if err := check(c, vs, base); err != nil {
			return err
		}
		set(c, vs[0])
		return nil
	}
	return s
}

const addressForm = "an address HOST:PORT with an IP address or localhost, as in 127.0.0.1:7443 or [::]:7443"

func addresses(name, value string, at func(*Config) *[]string, help string) setting {
	return setting{name: name, value: value, form: addressForm + "; or a list of them", help: help, list: true,
		assign: func(c *Config, vs []string, _ string) error {
			for i, v := range vs {
				if err := checkAddress(v); err != nil {
					return err
				}
				if slices.Contains(vs[:i], v) && !strings.HasSuffix(v, ":0") {
					return fmt.Errorf("%q is there twice", v)
				}
			}
			*at(c) = slices.Clone(vs)
			return nil
		}}
}

func address(name string, at func(*Config) *string, help string) setting {
	return one(name, "", addressForm, help, func(c *Config, v, _ string) error {
		if v != "" {
			if err := checkAddress(v); err != nil {
				return err
			}
		}
		*at(c) = v
		return nil
	})
}

func words(name string, at func(*Config) *[]string, help string) setting {
	return setting{name: name, form: "a DNS name or IP address; or a list of them", help: help, list: true,
		assign: func(c *Config, vs []string, _ string) error {
			for _, v := range vs {
				if !hostLike(v) {
					return fmt.Errorf("%q is neither a DNS name nor an IP address", clip(v))
				}
			}
			*at(c) = slices.Clone(vs)
			return nil
		}}
}

// hostLike tells whether v is an IP address or has the form of a DNS name (RFC 1123 §2.1), the first label may be *.
func hostLike(v string) bool {
	if _, err := netip.ParseAddr(v); err == nil {
		return true
	}
	if v == "" || len(v) > 253 {
		return false
	}
	for i, label := range strings.Split(v, ".") {
		if label == "*" && i == 0 && strings.Contains(v, ".") {
			continue
		}
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-') {
				return false
			}
		}
	}
	return true
}

func checkAddress(v string) error {
	host, port, err := net.SplitHostPort(v)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT", clip(v))
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "localhost" {
		return fmt.Errorf("%q is not an IP address", clip(host))
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil || port[0] == '+' {
		return fmt.Errorf("%q is not a port from 0 to 65535", clip(port))
	}
	return nil
}

var units = []struct {
	name  string
	bytes int64
}{{"TiB", tib}, {"GiB", gib}, {"MiB", mib}, {"KiB", kib}, {"B", 1}}

// parseSize reads a number of bytes with an optional binary unit (IEC 80000-13).
func parseSize(v string) (int64, error) {
	digits, unit := v, int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(v, u.name); ok {
			digits, unit = strings.TrimRight(rest, " "), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || digits[0] == '+' {
		return 0, fmt.Errorf("%q is not a size", clip(v))
	}
	if n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is out of range", clip(v))
	}
	return n * unit, nil
}

func sizeText(n int64) string {
	for _, u := range units {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// parseDuration reads Go's durations, with whole days (24 h) before them.
func parseDuration(v string) (time.Duration, error) {
	var days int64
	rest := v
	if d, after, ok := strings.Cut(v, "d"); ok {
		n, err := strconv.ParseInt(d, 10, 64)
		if err != nil || n < 0 || n > int64(math.MaxInt64/day) || d[0] == '+' {
			return 0, fmt.Errorf("%q is not a duration", clip(v))
		}
		days, rest = n, after
		if rest == "" {
			return time.Duration(days) * day, nil
		}
	}
	t, err := time.ParseDuration(rest)
	if err != nil || t < 0 || t > math.MaxInt64-time.Duration(days)*day {
		return 0, fmt.Errorf("%q is not a duration", clip(v))
	}
	return time.Duration(days)*day + t, nil
}

func durationText(d time.Duration) string {
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

func oneOf(of []string) string {
	if len(of) < 2 {
		return strings.Join(of, "")
	}
	return strings.Join(of[:len(of)-1], ", ") + " or " + of[len(of)-1]
}

// clip shortens a value before it goes into a message.
func clip(v string) string {
	const most = 80
	if len(v) <= most {
		return v
	}
	return v[:most] + "…"
}
