package rotation

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Calendar says on which days, and when in UTC, something happens.
type Calendar struct {
	month   time.Month   // of yearly
	day     int          // of yearly and monthly; past the end of a month: its last day
	weekday time.Weekday // of weekly
	kind    kind
	at      time.Duration // after midnight
}

type kind uint8

const (
	weekly kind = iota + 1
	monthly
	yearly
)

var weekdays = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

const calendarForms = `want "weekly sunday 02:30", "monthly 1 03:00" or "yearly 01-15 00:00", in UTC`

// maxCalendar bounds the text of a calendar, in bytes.
const maxCalendar = 32

// ParseCalendar reads "weekly DAY HH:MM", "monthly D HH:MM" or "yearly MM-DD HH:MM". CodeBadRequest says what it did not understand.
func ParseCalendar(s string) (c Calendar, err error) {
	if len(s) > maxCalendar {
		return c, bad("the calendar has %d bytes, the limit is %d: %s", len(s), maxCalendar, calendarForms)
	}
	words := strings.Fields(s)
	if len(words) != 3 || strings.Join(words, " ") != s {
		return c, bad("%q is not a calendar: %s", s, calendarForms)
	}
	var ok bool
	switch words[0] {
	case "weekly":
		c.kind = weekly
		i := slices.Index(weekdays, words[1])
		c.weekday, ok = time.Weekday(i), i >= 0
	case "monthly":
		c.kind = monthly
		c.day, ok = number(words[1], 1, 31)
	case "yearly":
		c.kind = yearly
		month, of, cut := strings.Cut(words[1], "-")
		m, isMonth := number(month, 1, 12)
		c.month = time.Month(m)
		c.day, ok = number(of, 1, 31)
		ok = ok && cut && isMonth && len(words[1]) == len("01-15") && c.day <= daysIn(leapYear, c.month)
	default:
		return c, bad("%q is not how often something can happen: %s", words[0], calendarForms)
	}
	if !ok {
		return c, bad("%q is not a day: %s", words[1], calendarForms)
	}
	hour, minute, cut := strings.Cut(words[2], ":")
	h, isHour := number(hour, 0, 23)
	m, isMinute := number(minute, 0, 59)
	if !cut || !isHour || !isMinute || len(words[2]) != len("03:00") {
		return c, bad("%q is not a time of day: %s", words[2], calendarForms)
	}
	c.at = time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
	return c, nil
}

// number reads digits only.
func number(s string, least, most int) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || s[0] == '+' || int(n) < least || int(n) > most { //nolint:gosec // G115: 8 bits
		return 0, false
	}
	return int(n), true //nolint:gosec // G115: 8 bits
}

const leapYear = 2000

func daysIn(year int, m time.Month) int { return time.Date(year, m+1, 0, 0, 0, 0, 0, time.UTC).Day() }

// After is the next moment of the calendar after another one.
func (c Calendar) After(t time.Time) time.Time {
	t = t.UTC()
	year, month, today := t.Date()
	for i := 0; ; i++ {
		var at time.Time
		switch c.kind {
		case weekly:
			at = time.Date(year, month, today+(int(c.weekday-t.Weekday())+7)%7+7*i, 0, 0, 0, 0, time.UTC)
		case monthly:
			first := time.Date(year, month+time.Month(i), 1, 0, 0, 0, 0, time.UTC)
			at = c.dayOf(first.Year(), first.Month())
		default:
			at = c.dayOf(year+i, c.month)
		}
		if at = at.Add(c.at); at.After(t) {
			return at
		}
	}
}

// dayOf is the calendar's day in a month: its last one, where the month is shorter.
func (c Calendar) dayOf(year int, m time.Month) time.Time {
	return time.Date(year, m, min(c.day, daysIn(year, m)), 0, 0, 0, 0, time.UTC)
}

// shortest is the least time between two moments.
func (c Calendar) shortest() time.Duration {
	switch c.kind {
	case weekly:
		return 7 * day
	case monthly:
		return 28 * day
	default:
		return 365 * day
	}
}
