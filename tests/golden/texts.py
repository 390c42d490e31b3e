"""The fixed texts: what the tiny vocabularies are trained on, and the prompts of the goldens."""

CORPUS = (
    "The river rises in the hills above the town, and the town has always lived from the river. "
    "In spring the water is high and brown; in the late summer children walk across it. ",
    "She counted the lamps along the harbour: one, two, three, and then the long dark of the sea. ",
    "What is the capital of the country? The answer is short, and the question is not. ",
    "النهر يجري من الجبال إلى البحر، والمدينة تنام على ضفته. ما اسم المدينة؟ ",
    "河水从山上流下来，穿过小城，流向大海。今天的天气很好，我们去河边走一走。",
    "def total(values):\n    result = 0\n    for value in values:\n        result += value\n"
    "    return result\n\n",
    '{"name": "value", "count": 12, "items": [1, 2, 3]}\n',
)

PROMPTS = (
    "The",
    "What is the capital of France?",
    "كم عدد أيام السنة؟",
    "我们去河边走一走吧。🙂",
    "def mean(values):\n    return total(values) / len(values)\n\n\nprint(mean([1, 22, 333]))"
    "  # it's 118.67, and the river's still there when you've read this long comment to its end.\n",
)

CONVERSATION = (
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "Paris."},
    {"role": "user", "content": "And of Italy?"},
)
