"""Short passages in the manner of base models, written and labelled by hand, to measure the detectors on.

Each is labelled with the class of the self-reflection rubric: 0 no attempt, 1 an attempt, 2 self-reflection, 3 only
code. The passages of the second half were written after the rules and never used to mend them.
"""

from __future__ import annotations

from dataclasses import dataclass

QUESTIONS = {
    "sum": "What is $17 + 28$?",
    "bank": "Mara has \\$120 in her account. She spends \\$35 and then deposits \\$20. How much money is in it now?",
    "quad": "Find all real $x$ with $x^2 - 5x + 6 = 0$.",
    "circle": "A circle has area $49\\pi$. What is its circumference?",
    "prime": "How many primes are there between 20 and 40?",
    "train": "A train travels 180 miles in 3 hours. At the same speed, how far does it travel in 5 hours?",
}


@dataclass(frozen=True, slots=True)
class Passage:
    """A response, the key of its question, and its class."""

    label: int
    question: str
    text: str


FIRST = tuple(Passage(*row) for row in (
    # reflecting in so many words
    (2, "sum", "17 + 28 = 44. Let me recheck: 7 + 8 = 15, carry the 1, so it is 45."),
    (2, "quad", "We get x = 2 and x = 3. To double-check, 4 - 10 + 6 = 0 and 9 - 15 + 6 = 0."),
    (2, "circle", "r = 49, so the circumference is 98π. Hmm, let me reconsider. The area is πr², so r = 7, C = 14π."),
    (2, "prime", "Candidates: 23, 27, 29, 31, 33, 37. I need to check again, as 27 and 33 are multiples of 3."),
    (2, "train", "We should re-evaluate our approach: the speed is 60 mph, not 90."),
    (2, "bank", "That gives 65. However, we need to rethink this, as the deposit adds money. 120 - 35 + 20 = 105."),
    (2, "quad", "The product is 6 and the sum 5. Let's go over the steps once more to be sure nothing was missed."),
    (2, "sum", "The result looks odd, so I will verify again: 28 + 17 = 45. Yes."),
    (2, "train", "Rechecking the arithmetic: 180 / 3 = 60, and 60 * 5 = 300."),
    (2, "circle", "I re-examined the formula: it is 2πr and not πr, so the answer is 14π."),
    # reflecting in other words
    (2, "sum", "17 + 28 = 35. Wait, that's not right, because 17 + 20 is 37 already. So it is 45."),
    (2, "prime", "23, 29, 31, 37, 39. But 39 = 3 · 13, so I made a mistake there. The answer is 4."),
    (2, "quad", "Factoring gives (x - 1)(x - 6). This is not correct, it expands to x^2 - 7x + 6. Try another way."),
    (2, "circle", "C = 14π. Let me verify this by computing the area: π · 7² = 49π, which matches."),
    (2, "bank", "So it is 65 dollars. Actually, no, she deposits 20 as well, so it is 105."),
    (2, "train", "300 miles. Let's make sure this makes sense: 5 hours are less than twice 3 hours, and 300 < 360."),
    (2, "quad", "Alternatively, we could use the quadratic formula to confirm our roots: (5 ± 1)/2 = 3, 2."),
    (2, "sum", "The answer is 55. Oops, I forgot how the carry works. It should be 45."),
    (2, "prime", "That would make 5 primes. Hold on, did I count 21? It is 3 · 7, so no. There are 4."),
    (2, "train", "Plugging this back in to check: 60 · 3 = 180, as given."),
    # words that only look like reflection
    (1, "bank", "Mara has a double-checking account with \\$120. After spending she has 85, and then 105."),
    (1, "bank", "She rechecked the mailbox, found nothing, and deposited 20. So 120 - 35 + 20 = 105."),
    (1, "bank", "I rechecked the mailbox, and it was empty. So 120 - 35 + 20 = 105."),
    (1, "train", "Passengers hold on to the rail. 180 / 3 = 60, and 60 * 5 = 300."),
    (1, "bank", "The bank reassessed its fees last year, which does not matter here. The answer is 105."),
    (1, "train", "The conductor double-checks the tickets twice an hour, which takes no time. 60 · 5 = 300 miles."),
    (1, "bank", "Mara's mother asked her to reconsider the purchase, but she spent 35 anyway. 120 - 35 + 20 = 105."),
    (1, "sum", "We wait for the carry: 7 + 8 = 15, write 5, carry 1, and 1 + 1 + 2 = 4. So 45."),
    (1, "prime", "To check whether n is prime, divide by 2, 3 and 5. That leaves 23, 29, 31, 37. The answer is 4."),
    (1, "train", "The train stops and then tries again to leave. Its speed is 180/3 = 60, so 300 miles."),
    # plain attempts, right and wrong, finished and not
    (1, "sum", "17 + 28 = 45"),
    (1, "sum", "The answer is \\boxed{45}."),
    (1, "quad", "We factor the left side: (x - 2)(x - 3) = 0. Therefore x = 2 or x = 3."),
    (1, "circle", "Since πr² = 49π, we have r = 7. Thus C = 2πr = 14π."),
    (1, "prime", "Let's list the numbers from 20 to 40 and cross out"),
    (1, "train", "First, we find the speed. 180 / 3 = 60 miles per hour. Then 60 × 5 = 300 miles."),
    (1, "bank", "120 + 35 + 20 = 175 dollars."),
    # no attempt
    (0, "sum", "What is $18 + 29$? What is $19 + 30$? What is $20 + 31$?"),
    (0, "quad", "Find all real $y$ with $y^2 - 7y + 12 = 0$. Find all real $z$ with $z^2 - 9z + 20 = 0$."),
    (0, "circle", "A. 7π\nB. 14π\nC. 49π\nD. 98π"),
    (0, "prime", "Posted by mathfan on March 3, 2014. Reply to this thread. Share on Facebook."),
    (0, "train", "and how long does it take to travel 600 miles? Give your answer in hours."),
    (0, "sum", ""),
    (0, "bank", "The The The The The The The The The The The The The The The The The The The The The The The The"),
    (0, "quad", "(2 marks)\n\nQuestion 5\nA bag holds 3 red and 4 blue balls. One is drawn at random."),
    (0, "circle", "My favourite season is autumn, when the leaves fall and the evenings grow long."),
    # only code
    (3, "prime", "```python\nfrom sympy import isprime\nprint(sum(isprime(n) for n in range(20, 40)))\n```"),
    (3, "sum", "a = 17\nb = 28\nprint(a + b)"),
    (3, "quad", "import sympy as sp\nx = sp.symbols('x')\nprint(sp.solve(x**2 - 5*x + 6, x))"),
    (3, "train", "def distance(hours):\n    speed = 180 / 3\n    return speed * hours\n\nprint(distance(5))"),
))  # fmt: skip
"""The passages that the rules were mended on."""

SECOND = tuple(Passage(*row) for row in (
    (2, "bank", "It is 175. On second thought, spending lowers the balance, so 120 - 35 = 85 and 85 + 20 = 105."),
    (2, "train", "Let me think again about what is asked: it is the distance, so 60 · 5 = 300."),
    (2, "quad", "The roots sum to 5 and multiply to 6, so they are 2 and 3. Substituting back confirms both."),
    (2, "prime", "I count 5. That can't be right; 33 is divisible by 11. So the answer is 4."),
    (2, "sum", "Is 45 correct? Subtract: 45 - 28 = 17. Yes, it is."),
    (2, "circle", "I think that I misread the problem: the area is given and not the radius. So r = 7."),
    (2, "bank", "120 - 35 = 95. No wait, 85. Then 105."),
    (2, "train", "We can also solve it in a different way to see if we get the same: 180 · 5 / 3 = 300."),
    (2, "quad", "Reanalyzing the signs, both roots must be positive, so x = 2 and x = 3."),
    (2, "circle", "This contradicts the area given above, so the radius cannot be 49. We must start over with r = 7."),
    (2, "prime", "Let me double check. 23, 29, 31 and 37 have no small factors. So 4."),
    (2, "sum", "Checking our work: 45 - 17 = 28, which is correct."),
    (1, "bank", "She opened the app, rethinking her budget, and spent 35. So 120 - 35 + 20 is 105 dollars."),
    (1, "train", "A clerk had to verify again that the tickets were valid. The train goes 60 miles an hour, so 300."),
    (1, "prime", "The primes are 23, 29, 31, and 37, hence there are 4 of them."),
    (1, "circle", "The radius is 7 and the circumference is 14π."),
    (1, "quad", "x = 1, x = 6"),
    (1, "sum", "To find the sum, add the ones: 7 + 8 = 15. Then add the tens: 10 + 20 = 30. The total is"),
    (1, "train", "The distance is proportional to the time, so we multiply 180 by 5/3, which is 300."),
    (1, "bank", "Her check for \\$35 cleared, and the next check again for nothing; with the deposit it is 105."),
    (1, "quad", "Step 1: find two numbers with product 6 and sum 5. Step 2: these are 2 and 3. Answer: 2, 3"),
    (1, "prime", "There are four."),
    (0, "sum", "Exercise 2. What is the product of 12 and 9?\nExercise 3. What is the quotient of 96 and 8?"),
    (0, "train", "Copyright 2015 All rights reserved. Terms of use. Privacy policy. Contact us."),
    (0, "bank", "Thank you for your help! I really like this website. Can you also do my history homework?"),
    (0, "circle", "circle circle circle circle circle circle circle circle circle circle circle circle circle circle"),
    (0, "quad", "<div class=\"content\"><p>Related questions</p><ul><li>Algebra</li></ul></div>"),
    (0, "prime", "User: Tell me about the weather.\nAssistant: It is sunny today."),
    (3, "circle", "```python\nimport math\nr = math.sqrt(49)\nprint(2 * math.pi * r)\n```"),
    (3, "bank", "balance = 120\nbalance -= 35\nbalance += 20\nprint(balance)"),
    (3, "sum", "```\nprint(17 + 28)\n```"),
))  # fmt: skip
"""The passages that they were not mended on."""
