package ceremony

import (
	"fmt"
	"regexp"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

var namePattern = regexp.MustCompile(`^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$`)

// checkName refuses what cannot be a validator's name, and letters of scripts whose letters look alike in one
// name: "Hаnok" with a Cyrillic а is no name of anybody.
func checkName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("name %q: expected 1 to 64 letters, digits, spaces, dots, dashes", name)
	}
	scripts := map[*unicode.RangeTable]bool{}
	for _, letter := range name {
		for _, script := range []*unicode.RangeTable{unicode.Latin, unicode.Cyrillic, unicode.Greek} {
			if unicode.Is(script, letter) {
				scripts[script] = true
			}
		}
	}
	if len(scripts) > 1 {
		return fmt.Errorf("name %q: its letters are of several scripts that look alike; expected one of Latin, Cyrillic, Greek", name)
	}
	return nil
}

// ComparableName is equal for names that people take for the same: by compatibility (NFKC) and case.
func ComparableName(name string) string { return cases.Fold().String(norm.NFKC.String(name)) }
