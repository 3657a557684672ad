// Prints the first message of a catalogue, or "none".
#include <nl_types.h>
#include <stdio.h>

int main(int count, char **arguments) {
    nl_catd found = catopen(arguments[count - 1], 0);
    puts(found == (nl_catd)-1 ? "none" : catgets(found, 1, 1, "no message"));
    return 0;
}
