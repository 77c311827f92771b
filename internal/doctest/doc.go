// Package doctest keeps the documents true: its tests follow the links of every page, run the commands that pages show,
// and compare lists in pages with the lists in the code that they describe. It holds no code of the product.
package doctest
