package rotation_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/rotation"
)

const day = 24 * time.Hour

func at(s string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestTheNextDate(t *testing.T) {
	for _, c := range []struct{ calendar, from, want string }{
		{"monthly 1 03:00", "2026-01-01 02:59:59", "2026-01-01 03:00:00"},
		{"monthly 1 03:00", "2026-01-01 03:00:00", "2026-02-01 03:00:00"},
		{"monthly 31 00:00", "2026-01-31 00:00:00", "2026-02-28 00:00:00"},
		{"monthly 31 00:00", "2028-01-31 00:00:01", "2028-02-29 00:00:00"},
		{"monthly 31 00:00", "2026-02-28 00:00:00", "2026-03-31 00:00:00"},
		{"monthly 30 12:00", "2026-12-31 00:00:00", "2027-01-30 12:00:00"},
		{"weekly sunday 02:30", "2026-11-22 02:29:59", "2026-11-22 02:30:00"}, // a Sunday
		{"weekly sunday 02:30", "2026-11-22 02:30:00", "2026-11-29 02:30:00"},
		{"weekly saturday 23:59", "2026-12-27 00:00:00", "2027-01-02 23:59:00"},
		{"yearly 01-15 00:00", "2026-01-15 00:00:00", "2027-01-15 00:00:00"},
		{"yearly 02-29 00:00", "2026-01-01 00:00:00", "2026-02-28 00:00:00"},
		{"yearly 02-29 00:00", "2027-03-01 00:00:00", "2028-02-29 00:00:00"},
		{"yearly 12-31 23:59", "2026-12-31 23:59:00", "2027-12-31 23:59:00"},
	} {
		if got := rotation.Next(kms.Period{Calendar: c.calendar}, kms.ID{1}, at(c.from)); !got.Equal(at(c.want)) {
			t.Errorf("%s after %s: got %s, want %s", c.calendar, c.from, got, c.want)
		}
	}
	from := at("2026-03-01 12:00:00").Add(500 * time.Millisecond)
	if got := rotation.Next(kms.Period{Every: 86400}, kms.ID{1}, from); !got.Equal(at("2026-03-02 12:00:00")) {
		t.Errorf("every day: got %s", got)
	}
	if got := rotation.Next(kms.Period{Operations: 100}, kms.ID{1}, from); !got.IsZero() {
		t.Errorf("by use alone: got %s", got)
	}
}

func TestJitterSpreadsKeysAndIsAlwaysTheSameForOne(t *testing.T) {
	from := at("2026-03-01 12:00:00")
	for _, p := range []kms.Period{{Every: 90 * 86400, Jitter: 5 * 86400}, {Calendar: "monthly 1 03:00", Jitter: 5 * 86400}} {
		late := rotation.Next(kms.Period{Every: p.Every, Calendar: p.Calendar}, kms.ID{}, from)
		seen := map[time.Time]bool{}
		for i := range 200 {
			key := kms.ID{byte(i), 7}
			due := rotation.Next(p, key, from)
			if due.After(late) || due.Before(late.Add(-5*day)) {
				t.Fatalf("%s is not within the five days before %s", due, late)
			}
			if !rotation.Next(p, key, from).Equal(due) {
				t.Fatal("asked again, it is another date")
			}
			// The next one is a whole period later, not the rest of this one.
			if again := rotation.Next(p, key, due); again.Sub(due) < 25*day {
				t.Fatalf("after %s: %s", due, again)
			}
			seen[due] = true
		}
		if len(seen) < 150 {
			t.Errorf("%d dates for 200 keys", len(seen))
		}
	}
}

func TestWhatIsNoCryptoperiodIsRefused(t *testing.T) {
	for _, c := range []struct {
		p    kms.Period
		dev  bool
		want string // a part of the error; empty: none
	}{
		{kms.Period{}, false, ""},
		{kms.Period{Every: 3600}, false, ""},
		{kms.Period{Every: 3599}, false, "want 1h0m0s to"},
		{kms.Period{Every: 1}, true, ""},
		{kms.Period{Every: -1}, true, "want 1s to"},
		{kms.Period{Every: math.MaxInt64}, true, "want 1s to"},
		{kms.Period{Every: 86400, Jitter: 43200}, false, ""},
		{kms.Period{Every: 86400, Jitter: 43201}, false, "at most half"},
		{kms.Period{Every: 86400, Jitter: -1}, false, "at most half"},
		{kms.Period{Jitter: 1}, false, "belongs to a schedule"},
		{kms.Period{Every: 86400, Calendar: "monthly 1 03:00"}, false, "two schedules"},
		{kms.Period{Calendar: "weekly sunday 02:30", Jitter: 302400}, false, ""},
		{kms.Period{Calendar: "weekly sunday 02:30", Jitter: 302401}, false, "at most half"},
		{kms.Period{Calendar: "daily"}, false, "not a calendar"},
		{kms.Period{Operations: 9}, false, "want 10 to"},
		{kms.Period{Operations: 10, Bytes: 1024}, false, ""},
		{kms.Period{Bytes: 1023}, false, "want 1024 to"},
		{kms.Period{Bytes: 1 << 63}, false, "want 1024 to"},
	} {
		err := rotation.Check(c.p, c.dev)
		if c.want == "" && err != nil || c.want != "" && (kms.CodeOf(err) != kms.CodeBadRequest || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got %v, want %q", c.p, err, c.want)
		}
	}
}

func TestWhatIsNoCalendarIsRefused(t *testing.T) {
	for _, s := range []string{"", "monthly", "monthly 1", "monthly 0 03:00", "monthly 32 03:00", "monthly 1 24:00", "monthly 1 3:00", "monthly 1 03:60", "monthly +1 03:00",
		"monthly 1  03:00", " monthly 1 03:00", "weekly Sunday 02:30", "weekly sun 02:30", "yearly 13-01 00:00", "yearly 02-30 00:00", "yearly 04-31 00:00", "yearly 1-15 00:00",
		"yearly 0115 00:00", "hourly 1 00:00", "monthly 1 03:00 UTC", strings.Repeat("x", 1000)} {
		if _, err := rotation.ParseCalendar(s); kms.CodeOf(err) != kms.CodeBadRequest {
			t.Errorf("%q: got %v", s, err)
		}
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct{ limit, trigger, share uint64 }{
		{10, 8, 1}, {11, 9, 1}, {100, 80, 1}, {1000, 800, 1}, {1 << 32, 3435973837, 4294967}, {1 << 62, 1<<62 - (1<<62)/5, (1 << 62) / 1000},
	} {
		if tr, sh := rotation.Trigger(c.limit), rotation.Share(c.limit); tr != c.trigger || sh != c.share {
			t.Errorf("%d: got %d and %d, want %d and %d", c.limit, tr, sh, c.trigger, c.share)
		}
	}
	due := at("2026-03-01 12:00:00")
	if rotation.Missed(due, due.Add(rotation.Grace)) || !rotation.Missed(due, due.Add(rotation.Grace+1)) || rotation.Missed(time.Time{}, due) {
		t.Error("missed is not after the grace")
	}
}

func FuzzParseCalendar(f *testing.F) {
	for _, s := range []string{"weekly sunday 02:30", "monthly 31 03:00", "yearly 02-29 00:00", "yearly 2-29 00:00", "monthly \x00 03:00"} {
		f.Add(s, int64(1_800_000_000))
	}
	f.Fuzz(func(t *testing.T, s string, unix int64) {
		c, err := rotation.ParseCalendar(s)
		if err != nil {
			if kms.CodeOf(err) != kms.CodeBadRequest {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		from := time.Unix(((unix%4e9)+4e9)%4e9, 0).UTC()
		next := c.After(from)
		if !next.After(from) || next.Sub(from) > 366*day {
			t.Fatalf("%q after %s: %s", s, from, next)
		}
		if again := c.After(next.Add(-time.Second)); !again.Equal(next) {
			t.Fatalf("%q: %s, a second earlier asked: %s", s, next, again)
		}
	})
}
